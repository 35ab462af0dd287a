"""The extension module for GPUs, built once from the files of this tree."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from benchmarks.resources import cuda_build


@pytest.fixture(scope="session")
def built_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it, or wait for the other process of this run that does."""
    if cuda_build.problem():
        pytest.skip(cuda_build.problem())
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cuda_module"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = list(folder.glob("_cuda*.so"))
        return built[0] if built else cuda_build.build_module(folder)
