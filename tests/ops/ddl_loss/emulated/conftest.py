"""The emulated device, and the losses' kernels and module built for it."""

from __future__ import annotations

from tests.emulators.cuda_on_cpu.fixtures import build_folder, emulator, loss_kernels, losses
from tests.emulators.cuda_on_cpu.tests.conftest import device, preload

__all__ = ["build_folder", "device", "emulator", "loss_kernels", "losses", "preload"]
