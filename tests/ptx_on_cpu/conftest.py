"""Launchers and bindings of the g++ harness, shared with its own tests."""

from __future__ import annotations

from ..cuda_on_cpu.fixtures import build_folder, emulator, loss_kernels, losses

__all__ = ["build_folder", "emulator", "loss_kernels", "losses"]
