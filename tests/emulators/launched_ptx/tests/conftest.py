"""The emulator that launches."""

from __future__ import annotations

from ...cuda_on_cpu.fixtures import build_folder, emulator

__all__ = ["build_folder", "emulator"]
