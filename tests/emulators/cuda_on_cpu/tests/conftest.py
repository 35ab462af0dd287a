"""What the tests of this folder are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .. import toolchain
from ..device import Device
from ..fixtures import build_folder, emulator, library, loss_kernels, losses
from ..toolchain import FLAVOURS

__all__ = ["build_folder", "emulator", "library", "loss_kernels", "losses"]


@pytest.fixture
def device(emulator: Path) -> Iterator[Device]:
    with Device(emulator) as opened:
        opened.configure("up")
        yield opened


@pytest.fixture(scope="session")
def preload() -> Callable[[str], list[str]]:
    """Return what has to be in LD_PRELOAD for a flavour, or skip where g++ lacks it."""

    def paths(flavour: str) -> list[str]:
        try:
            return toolchain.runtimes(FLAVOURS[flavour])
        except FileNotFoundError as error:
            pytest.skip(str(error))

    return paths
