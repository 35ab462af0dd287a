"""Libraries of the kernels of this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .. import toolchain
from ..fixtures import build_folder, device, emulator, preload
from ..toolchain import FLAVOURS

__all__ = ["build_folder", "device", "emulator", "library", "preload"]

KERNELS = Path(__file__).resolve().parent / "kernels"


@pytest.fixture(scope="session")
def library(build_folder: Path, emulator: Path) -> Callable[[str, str], Path]:
    """Return the library of ``kernels/<name>.cu``, built in the flavour of that name."""

    def build(name: str, flavour: str) -> Path:
        source = KERNELS / f"{name}.cu"
        return toolchain.build_kernels(name, [source], emulator, build_folder, FLAVOURS[flavour])

    return build
