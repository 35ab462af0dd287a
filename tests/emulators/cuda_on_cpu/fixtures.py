"""Fixtures for a conftest.py: the emulator, built once per session, and its device.

from cuda_on_cpu.fixtures import build_folder, device, emulator, preload
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from . import toolchain
from .device import Device
from .toolchain import FLAVOURS


def session_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """Return a folder that all processes of a test session share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def build_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of everything that is built, or skip where nothing can be."""
    if toolchain.problem():
        pytest.skip(toolchain.problem())
    return session_folder(tmp_path_factory, "cuda_on_cpu_builds")


@pytest.fixture(scope="session")
def emulator(build_folder: Path) -> Path:
    """Return the emulator's library."""
    return toolchain.build_emulator(build_folder)


@pytest.fixture
def device(emulator: Path) -> Iterator[Device]:
    """Return the device, with nothing on it; its memory is freed after the test."""
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
