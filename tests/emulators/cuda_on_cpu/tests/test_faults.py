"""The harness finds what it promises to find: every planted fault, and nothing in sound kernels."""

from __future__ import annotations

import ctypes
import re

import numpy as np
import pytest

from ..device import SCHEDULES, KernelFaultError, call
from ..job import run_job

pytestmark = pytest.mark.slow  # because of what is built first

REVERSED = np.arange(64.0)[::-1]
REVERSED_WARP = np.r_[np.arange(32.0)[::-1], np.full(32, np.nan)]

#: Faults at which the emulator stops, in every schedule, and what it says.
STOPPED = {
    "early_return": "return",
    "divergent_barrier": r"divergent __syncthreads: this thread at .*faults.cu:\d+, others at",
    "half_warp_shuffle": r"deadlock: \[32 threads at __shfl_\*_sync, .*\] \[32 threads at __sync",
    "mixed_collectives": "warp collective mismatch: lane .* mask ffffffff at .*, lane",
    "lane_outside_its_mask": r"not in its own mask, .*faults.cu:\d+",
    "dynamic_shared_overrun": "byte 256 written, behind the 256 bytes of dynamic shared memory",
    "global_overrun": "device memory written 0 bytes behind an allocation of 256 bytes",
    "too_many_threads": r"1 to 1024 threads.*got \(1025,1,1\)",
    "too_much_shared_memory": r"49153 bytes of dynamic shared memory, and 49152 are allowed",
}

#: Faults that show as a wrong result, in some schedule at least: what a sound kernel would leave.
WRONG_RESULT = {
    "missing_barrier": REVERSED,
    "missing_second_barrier": np.full(64, 3.0),
    "uninitialised_shared": np.ones(64),
    "global_read_overrun": np.zeros(64),
    "static_shared_overrun": np.ones(64),
}

SOUND = {"sound_barrier": REVERSED, "sound_warp_barrier": REVERSED_WARP}

#: What each sanitizer reports.
SANITIZED = [
    ("missing_barrier", "thread", r"data race[\s\S]*faults::missing_barrier"),
    ("missing_second_barrier", "thread", r"data race[\s\S]*faults::missing_second_barrier"),
    ("shuffle_as_fence", "thread", r"data race[\s\S]*faults::shuffle_as_fence"),
    ("dynamic_shared_overrun", "address", r"poison[\s\S]*faults::dynamic_shared_overrun"),
    ("static_shared_overrun", "address", r"faults.cu:\d+:\d+: runtime error: index 64 out of"),
    ("global_overrun", "address", r"poison[\s\S]*faults::global_overrun"),
    ("global_read_overrun", "address", r"poison[\s\S]*faults::global_read_overrun"),
    ("dynamic_shared_overrun", "thread", STOPPED["dynamic_shared_overrun"]),
    ("global_overrun", "thread", STOPPED["global_overrun"]),
    *(
        (name, flavour, STOPPED[name])
        for name in (
            "early_return",
            "divergent_barrier",
            "half_warp_shuffle",
            "mixed_collectives",
            "lane_outside_its_mask",
        )
        for flavour in ("address", "thread")
    ),
]


@pytest.fixture
def outcome(device, library):
    """Run a kernel of faults.cu in a schedule: its 64 floats, NaN where it wrote nothing."""
    functions = ctypes.CDLL(str(library("faults", "plain")))

    def run(name: str, schedule: str) -> np.ndarray:
        device.configure(schedule, seed=3)
        out = device.empty(64, np.float32)
        if name == "global_read_overrun":
            out[...] = 0
        call(getattr(functions, f"launch_{name}"), out)
        device.check()
        return out

    return run


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", STOPPED)
def test_the_emulator_stops_at(name, schedule, outcome):
    with pytest.raises(KernelFaultError, match=STOPPED[name]):
        outcome(name, schedule)


@pytest.mark.parametrize("name", WRONG_RESULT)
def test_some_schedule_shows(name, outcome):
    results = [outcome(name, schedule) for schedule in SCHEDULES]
    assert any(not np.array_equal(result, WRONG_RESULT[name]) for result in results)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", SOUND)
def test_a_sound_kernel_is_let_pass(name, schedule, outcome):
    np.testing.assert_array_equal(outcome(name, schedule), SOUND[name])


def test_a_barrier_can_be_taken_out_and_put_back(device, outcome):
    outcome("sound_barrier", "up")
    (place,) = device.barriers_reached()
    device.remove_barrier(*place)
    results = [outcome("sound_barrier", schedule) for schedule in SCHEDULES]
    assert any(not np.array_equal(result, REVERSED) for result in results)
    assert not device.barriers_reached()
    device.remove_barrier()
    np.testing.assert_array_equal(outcome("sound_barrier", "up"), REVERSED)


def test_a_fault_leaves_the_device_usable(outcome):
    with pytest.raises(KernelFaultError):
        outcome("half_warp_shuffle", "up")
    np.testing.assert_array_equal(outcome("sound_barrier", "down"), REVERSED)


def test_the_launcher_learns_of_a_fault_from_the_runtime(device, library, outcome):
    device.configure("up")
    with pytest.raises(KernelFaultError, match="divergent") as caught:
        outcome("divergent_barrier", "up")
    runtime = device.runtime
    runtime.cudaGetErrorString.restype = ctypes.c_char_p
    error = runtime.cudaGetLastError()
    assert error == 719  # cudaErrorLaunchFailure
    assert runtime.cudaGetErrorString(error).decode() == str(caught.value)
    assert runtime.cudaGetLastError() == 0


@pytest.mark.parametrize(("name", "flavour", "report"), SANITIZED)
def test_a_sanitizer_reports(name, flavour, report, emulator, library, preload, tmp_path):
    done = run_job(
        tmp_path,
        emulator=emulator,
        library=library("faults", flavour),
        preload=preload(flavour),
        calls=[(f"launch_{name}", ["out"])],
        arrays={"out": np.zeros(64, np.float32)},
    )
    assert re.search(report, done.report), done.report


@pytest.mark.parametrize("flavour", ["address", "thread"])
def test_shared_memory_is_nan_under_sanitizers_too(flavour, emulator, library, preload, tmp_path):
    done = run_job(
        tmp_path,
        emulator=emulator,
        library=library("faults", flavour),
        preload=preload(flavour),
        calls=[("launch_uninitialised_shared", ["out"])],
        arrays={"out": np.zeros(64, np.float32)},
    )
    assert done.report == ""
    assert np.isnan(done.arrays["out"]).all()


@pytest.mark.parametrize("flavour", ["address", "thread"])
def test_the_sanitizers_let_sound_kernels_pass(flavour, emulator, library, preload, tmp_path):
    done = run_job(
        tmp_path,
        emulator=emulator,
        library=library("faults", flavour),
        preload=preload(flavour),
        calls=[(f"launch_{name}", [name]) for name in SOUND],
        arrays={name: np.full(64, np.nan, np.float32) for name in SOUND},
        schedule="random",
    )
    assert done.report == ""
    for name, expected in SOUND.items():
        np.testing.assert_array_equal(done.arrays[name], expected)
