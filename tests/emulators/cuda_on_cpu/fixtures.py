"""The emulator and the libraries of kernels, each built once a session; for several folders."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from . import toolchain
from .toolchain import CSRC, FLAVOURS, HERE


def session_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """Return a folder that all processes of a test session share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def build_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if toolchain.problem():
        pytest.skip(toolchain.problem())
    return session_folder(tmp_path_factory, "cuda_on_cpu_builds")


@pytest.fixture(scope="session")
def emulator(build_folder: Path) -> Path:
    return toolchain.build_emulator(build_folder)


@pytest.fixture(scope="session")
def library(build_folder: Path, emulator: Path) -> Callable[[str, str], Path]:
    """Return the library of ``<name>.cu`` in this folder, built in the flavour of that name."""

    def build(name: str, flavour: str) -> Path:
        source = HERE / "tests" / "kernels" / f"{name}.cu"
        return toolchain.build_kernels(name, [source], emulator, build_folder, FLAVOURS[flavour])

    return build


@pytest.fixture(scope="session")
def loss_kernels(build_folder: Path, emulator: Path) -> Callable[[str], Path]:
    """Return the library of the losses' kernels and launchers, in the flavour of that name."""

    def build(flavour: str) -> Path:
        sources = sorted(CSRC.glob("cuda/*.cu"))
        return toolchain.build_kernels("ddl", sources, emulator, build_folder, FLAVOURS[flavour])

    return build


@pytest.fixture(scope="session")
def losses(loss_kernels: Callable[[str], Path]) -> Callable[[str], Path]:
    """Return the module ``_cuda``, built from the files of a GPU's, in the flavour of that name."""

    def build(flavour: str) -> Path:
        sources = sorted(CSRC.glob("bindings/cuda*.cpp"))
        return toolchain.build_extension("_cuda", sources, loss_kernels(flavour), FLAVOURS[flavour])

    return build
