"""What nvcc emits for the kernels that the g++ harness is tested with, sound and faulty ones."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from ...cuda_on_cpu.fixtures import session_folder
from ...ptx_on_cpu import nvcc
from ...ptx_on_cpu.interpreter import Kernel, PtxError, parse, run

pytestmark = pytest.mark.skipif(bool(nvcc.PROBLEM), reason=nvcc.PROBLEM)

KERNELS = Path(__file__).resolve().parents[2] / "cuda_on_cpu" / "tests" / "kernels"


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """All kernels of examples.cu and faults.cu, by a part of their mangled names."""
    folder = session_folder(tmp_path_factory, "ptx")
    modules: dict[str, Kernel] = {}
    for name in ("examples", "faults"):
        modules |= parse(nvcc.ptx_of(KERNELS / f"{name}.cu", folder))

    def find(part: str) -> Kernel:
        (kernel,) = [kernel for name, kernel in modules.items() if part in name]
        return kernel

    return find


FAULTS = {
    "missing_barrier": r"race \(read after write.*faults.cu:\d+",
    "missing_second_barrier": r"race \(.*faults.cu:\d+",
    "early_return": "63 threads at bar|barrier after 1 threads",
    "divergent_barrier": "divergent barrier|barrier",
    "half_warp_shuffle": "deadlock",
    "lane_outside_its_mask": "not in its own mask",
    "shuffle_as_fence": r"race \(read after write.*faults.cu:\d+",
    "dynamic_shared_overrun": "shared access out of bounds at byte 256 of 256",
    "uninitialised_shared": "",
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name, kernels):
    shared = 256 if name == "dynamic_shared_overrun" else 0
    out = np.zeros(64, np.float32)
    if not FAULTS[name]:
        run(kernels(name), name, (1,), (64,), [out])
        assert np.isnan(out).all()
        return
    with pytest.raises(PtxError, match=FAULTS[name]):
        run(kernels(name), name, (1,), (64,), [out], shared_bytes=shared)


def test_an_overrun_of_device_memory_is_found(kernels):
    with pytest.raises(PtxError, match=r"byte 256 of allocation 0.*thread 63.*faults.cu:\d+"):
        run(kernels("14global_overrun"), "", (1,), (64,), [np.zeros(64, np.float32), 1])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sound_barrier", np.arange(64.0)[::-1]),
        ("sound_warp_barrier", np.r_[np.arange(32.0)[::-1], np.zeros(32)]),
    ],
)
def test_a_sound_kernel_is_let_pass(name, expected, kernels):
    out = np.zeros(64, np.float32)
    run(kernels(name), name, (1,), (64,), [out])
    np.testing.assert_array_equal(out, expected)


OFFSETS = np.array([0, 0, 1, 40, 300, 305], np.int32)


@pytest.mark.parametrize(
    ("part", "dtype"), [("bag_sumsIf", np.float32), ("bag_sumsI6__half", np.float16)]
)
@pytest.mark.parametrize("threads", [32, 96])
def test_sums_of_bags(part, dtype, threads, kernels):
    values = np.random.default_rng(0).integers(-8, 9, OFFSETS[-1]).astype(dtype)
    out = np.full(len(OFFSETS) - 1, np.nan, np.float32)
    run(kernels(part), part, (len(out),), (threads,), [values, OFFSETS, out])
    single = values.astype(np.float32)
    sums = [single[begin:end].sum() for begin, end in itertools.pairwise(OFFSETS)]
    np.testing.assert_array_equal(out, sums)


def test_a_histogram_by_atomics_in_shared_memory(kernels):
    digits = np.random.default_rng(1).integers(0, 10, 200).astype(np.int32)
    out = np.zeros(10, np.int32)
    run(kernels("histogram"), "", (1,), (64,), [digits, 200, out], shared_bytes=40)
    np.testing.assert_array_equal(out, np.bincount(digits, minlength=10))


def test_every_thread_of_a_three_dimensional_grid_runs_once(kernels):
    out = np.zeros((12, 30), np.int32)
    run(kernels("indices"), "", (3, 2, 2), (5, 3, 2), [out])
    np.testing.assert_array_equal(out, np.arange(12)[:, None] * 1000 + np.arange(30))
