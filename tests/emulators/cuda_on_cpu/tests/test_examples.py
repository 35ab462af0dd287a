"""Sound kernels give on the emulator what they give on a GPU, in every schedule and block size."""

from __future__ import annotations

import ctypes
import itertools

import numpy as np
import pytest

from ..device import SCHEDULES, call
from ..job import run_job

pytestmark = pytest.mark.slow  # because of what is built first

LENGTHS = (0, 1, 31, 32, 33, 255, 256, 257, 1000, 0, 5)
OFFSETS = np.r_[0, np.cumsum(LENGTHS)].astype(np.int32)
SEEDS = range(3)


def draw(seed: int) -> np.ndarray:
    """Draw values that fp16 and bf16 hold exactly, and so do their sums in fp32."""
    return np.random.default_rng(seed).integers(-8, 9, OFFSETS[-1]).astype(np.float32)


def bag_sums(values: np.ndarray) -> np.ndarray:
    return np.array([values[a:b].sum() for a, b in itertools.pairwise(OFFSETS)])


def bag_maxima(values: np.ndarray) -> np.ndarray:
    pairs = itertools.pairwise(OFFSETS)
    return np.array([values[a:b].max() if b > a else -np.inf for a, b in pairs])


STORED = {
    "float": lambda values: values,
    "half": lambda values: values.astype(np.float16),
    "bfloat16": lambda values: (values.view(np.uint32) >> 16).astype(np.uint16),
}


@pytest.fixture
def functions(library):
    return ctypes.CDLL(str(library("examples", "plain")))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", STORED)
def test_shuffles_and_static_shared_memory_sum_bags(dtype, seed, schedule, device, functions):
    values, threads = draw(seed), 32 * int(np.random.default_rng(seed).integers(1, 33))
    device.configure(schedule, seed)
    out = device.empty(len(LENGTHS), np.float32)
    call(
        getattr(functions, f"launch_bag_sums_{dtype}"),
        device.array(STORED[dtype](values)), device.array(OFFSETS), out, len(LENGTHS), threads,
    )  # fmt: skip
    device.check()
    np.testing.assert_array_equal(out, bag_sums(values))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("threads", [1, 2, 32, 64, 512, 1024])
@pytest.mark.parametrize("launcher", ["launch_bag_maxima", "launch_bag_maxima_with_room"])
def test_a_tree_in_dynamic_shared_memory_finds_maxima(
    launcher, threads, schedule, device, functions
):
    values = draw(threads)
    device.configure(schedule)
    out = device.empty(len(LENGTHS), np.float32)
    call(
        getattr(functions, launcher),
        device.array(values), device.array(OFFSETS), out, len(LENGTHS), threads,
    )  # fmt: skip
    device.check()
    np.testing.assert_array_equal(out, bag_maxima(values))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("threads", [7, 96, 1000])
def test_atomics_in_shared_memory_count(threads, schedule, device, functions):
    digits = np.random.default_rng(threads).integers(0, 10, 777).astype(np.int32)
    device.configure(schedule)
    out = device.empty(10, np.int32)
    call(functions.launch_histogram, device.array(digits), len(digits), out, threads)
    device.check()
    np.testing.assert_array_equal(out, np.bincount(digits, minlength=10))


def expected_collectives() -> np.ndarray:
    lane = np.arange(32)
    every_third = sum(1 << i for i in range(0, 32, 3))
    columns = [
        np.full(32, 5),
        lane // 8 * 8 + 3,
        np.where(lane % 16 < 2, lane, lane - 2),
        np.where(lane % 8 > 4, lane, lane + 3),
        lane ^ 9,
        np.full(32, every_third),
        np.full(32, 2),
        15 << (lane // 4 * 4),
        np.full(32, lane.sum()),
        np.full(32, -16),
        np.full(32, -1),  # the largest of the unsigned values is that of lane 15
        np.full(32, 6),
    ]
    return np.stack(columns, axis=1).astype(np.int64).astype(np.int32)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warp_collectives_do_what_the_language_says(schedule, device, functions):
    device.configure(schedule)
    out = device.empty((32, 12), np.int32)
    call(functions.launch_collectives, out)
    device.check()
    np.testing.assert_array_equal(out, expected_collectives())


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_thread_of_a_three_dimensional_grid_runs_once(schedule, device, functions):
    device.configure(schedule)
    out = device.array(np.zeros((12, 30), np.int32))
    call(functions.launch_indices, out)
    device.check()
    expected = np.arange(12)[:, None] * 1000 + np.arange(30)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("flavour", ["address", "thread"])
def test_the_sanitizers_find_nothing_in_sound_kernels(
    flavour, emulator, library, preload, tmp_path
):
    values = draw(1)
    done = run_job(
        tmp_path,
        emulator=emulator,
        library=library("examples", flavour),
        preload=preload(flavour),
        calls=[
            ("launch_bag_sums_half", ["values", "offsets", "sums", len(LENGTHS), 96]),
            ("launch_bag_maxima", ["single", "offsets", "maxima", len(LENGTHS), 64]),
            ("launch_histogram", ["digits", 300, "counts", 64]),
            ("launch_collectives", ["lanes"]),
        ],
        arrays={
            "values": STORED["half"](values),
            "single": values,
            "offsets": OFFSETS,
            "digits": np.arange(300, dtype=np.int32) % 10,
            "sums": np.full(len(LENGTHS), np.nan, np.float32),
            "maxima": np.full(len(LENGTHS), np.nan, np.float32),
            "counts": np.zeros(10, np.int32),
            "lanes": np.zeros((32, 12), np.int32),
        },
        schedule="random",
        seed=5,
    )
    assert done.report == ""
    np.testing.assert_array_equal(done.arrays["sums"], bag_sums(values))
    np.testing.assert_array_equal(done.arrays["maxima"], bag_maxima(values))
    np.testing.assert_array_equal(done.arrays["counts"], np.full(10, 30))
    np.testing.assert_array_equal(done.arrays["lanes"], expected_collectives())
