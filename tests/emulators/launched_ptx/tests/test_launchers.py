"""Launchers compiled by g++ run nvcc's PTX of the same file, on memory with bounds."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

from ...cuda_on_cpu import PLAIN, build_kernels, call
from ...cuda_on_cpu.fixtures import session_folder
from ...ptx_on_cpu import PtxError, nvcc, parse
from .. import PtxDevice

pytestmark = [
    pytest.mark.slow,  # because of what is built first
    pytest.mark.skipif(bool(nvcc.PROBLEM), reason=nvcc.PROBLEM),
]

KERNELS = Path(__file__).resolve().parents[2] / "cuda_on_cpu" / "tests" / "kernels"


@pytest.fixture(scope="module")
def opened(build_folder, emulator, tmp_path_factory):
    """Return a device with the kernels of a file, and its launchers."""

    def build(name: str) -> tuple[PtxDevice, ctypes.CDLL]:
        source = KERNELS / f"{name}.cu"
        library = build_kernels(name, [source], emulator, build_folder, PLAIN)
        kernels = parse(nvcc.ptx_of(source, session_folder(tmp_path_factory, "ptx")))
        return PtxDevice(emulator, library, kernels, 1 << 16), ctypes.CDLL(str(library))

    return build


@pytest.mark.parametrize("threads", [32, 64])
def test_a_launcher_decides_grid_and_shared_memory_and_its_kernels_ptx_runs(threads, opened):
    device, library = opened("examples")
    values = np.arange(-20, 20, dtype=np.float32)
    with device:
        out = device.empty(2, np.float32)
        offsets = device.array(np.array([0, 33, 40], np.int32))
        call(library.launch_bag_maxima, device.array(values), offsets, out, 2, threads)
        device.check()
        np.testing.assert_array_equal(out, [12, 19])
        (ran,) = device.ran
    assert "bag_maxima" in ran


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing_barrier", "race"), ("global_overrun", "global access out of bounds")],
)
def test_what_the_interpreter_finds_in_a_launch_is_raised_once(name, message, opened):
    device, library = opened("faults")
    with device:
        call(getattr(library, f"launch_{name}"), device.empty(64, np.float32))
        with pytest.raises(PtxError, match=message):
            device.check()
        device.check()
