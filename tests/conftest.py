"""Fixtures and helpers that every test folder may use."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path

import pytest

# A thread that has nothing to do sleeps, here and in the processes that tests start; it would look
# for work for milliseconds while other test processes want the core. To be said before torch brings
# its OpenMP.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

gc.disable()  # until all tests are collected: pytest_collection_finish
# More threads than cores make the many small tests slower, and results must not depend on it.
torch.set_num_threads(min(2, os.cpu_count() or 1))

# Which layers compute is known or chosen, never timed: tests give the same result on every machine.
os.environ.setdefault("LADNET_SELF_TEST", "off")

# What a compiler made of the same files with the same flags is taken from ccache, where that is
# installed, whatever folder the sources lie in, but for builds as deep within them: flags have
# relative paths. Of programs with debug information too, which name the folder of the first build.
if shutil.which("ccache"):
    for _language in ("CXX", "CUDA"):
        os.environ.setdefault(f"CMAKE_{_language}_COMPILER_LAUNCHER", "ccache")
    os.environ.setdefault("CCACHE_NOHASHDIR", "1")
    os.environ.setdefault("CCACHE_BASEDIR", str(Path(__file__).parents[1]))

HERE = Path(__file__).parent
#: The kind of all tests in a folder or file; pyproject.toml says what the words mean.
KINDS = {
    "csrc": "build",
    "csrc_cuda": "build",
    "emulators": "emulator",
    "kernels": "emulator",
    "kernels_aot": "aot",
    "ops/ddl_loss/emulated": "emulator",
    "ops/locality_attention/test_native_amx.py": "build",
    "ops/residual_norm/test_machine_code.py": "aot",
    "ops/score_head/test_ptx.py": "emulator",
    "packaging": "build",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their place; begin with the longest, so that none is left to one process."""
    for item in items:
        place = item.path.relative_to(HERE)
        for known in (place, *place.parents):
            if known.as_posix() in KINDS:
                item.add_marker(KINDS[known.as_posix()])
    items.sort(key=_seconds, reverse=True)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Spare the garbage collector what lives until the end: nine thousand tests, and imports.

    Each of its full rounds would look at all of that again, while collecting tests as well. And it
    looks more seldom: with Python's own limits it takes a fifteenth of all tests' time.
    """
    gc.enable()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _seconds(item: pytest.Item) -> float:
    mark = item.get_closest_marker("slow")
    return 0 if mark is None else mark.kwargs.get("seconds", 10)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def two_gpus(monkeypatch):
    """Two devices that are chosen as torch does it; returns the list of the current one."""
    current = [0]

    def set_device(place):
        if place.index is None:
            raise ValueError("Expected a torch.device with a specified index or an integer")
        current[:] = [place.index]

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", set_device)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[0])
    return current
