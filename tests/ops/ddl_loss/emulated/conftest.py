"""The losses' kernels and the module ``_cuda``, built for the emulated device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emulators.cuda_on_cpu import FLAVOURS, build_extension, build_kernels
from tests.emulators.cuda_on_cpu.fixtures import build_folder, device, emulator, preload

from .sources import CSRC, INCLUDE

__all__ = ["build_folder", "device", "emulator", "loss_kernels", "losses", "preload"]


@pytest.fixture(scope="session")
def loss_kernels(build_folder: Path, emulator: Path) -> Callable[[str], Path]:
    """Return the library of the losses' kernels and launchers, in the flavour of that name."""

    def build(flavour: str) -> Path:
        sources = sorted(CSRC.glob("cuda/*.cu"))
        return build_kernels("ddl", sources, emulator, build_folder, FLAVOURS[flavour], INCLUDE)

    return build


@pytest.fixture(scope="session")
def losses(loss_kernels: Callable[[str], Path]) -> Callable[[str], Path]:
    """Return the module ``_cuda``, built from the files of a GPU's, in the flavour of that name."""
    # With a name for the architectures, as CMake compiles it.
    flags = [*INCLUDE, '-DLADNET_CUDA_ARCHS="emulated"']

    def build(flavour: str) -> Path:
        sources = sorted(CSRC.glob("bindings/cuda*.cpp"))
        kernels = loss_kernels(flavour)
        return build_extension("_cuda", sources, kernels, FLAVOURS[flavour], flags)

    return build
