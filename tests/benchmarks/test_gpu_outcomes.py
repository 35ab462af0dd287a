"""What the report says of each test on a GPU: toy tests, in a process as for the real ones."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from benchmarks.gpu import checks
from benchmarks.gpu.outcome import Outcome
from benchmarks.gpu.parts import CHECKS
from benchmarks.gpu.reporter import MARK

CPU = torch.device("cpu")

TOYS = """
import os
import pytest
import torch
from benchmarks.check import DoesNotFitError
from tests.gpu.judging import Unavailable
from tests.gpu.settings import chosen_device, chosen_sizes

def throw(error):
    raise error

JUDGES = {
    "fine": lambda: (True, "worst: out, 1 of 2"),
    "wrong": lambda: (False, "dq is off by 3, allowed 2"),
    "raises": lambda: throw(RuntimeError("CUDA error: bad\\nwith details")),
    "cannot": lambda: throw(Unavailable("no kernel")),
    "too large": lambda: throw(DoesNotFitError("the check does not fit")),
    "no memory": lambda: throw(torch.OutOfMemoryError("CUDA out of memory")),
    "settings": lambda: (True, f"{chosen_device()} {chosen_sizes().name}"),
}

@pytest.mark.gpu
@pytest.mark.parametrize("name", JUDGES)
def test_toys(name, check):
    print("what a test prints is no outcome")
    check(JUDGES[name])

def test_of_a_helper_is_not_run():
    raise AssertionError

@pytest.fixture
def broken():
    raise ValueError("no inputs")

@pytest.mark.gpu
def test_alone(broken):
    pass
"""

#: A device that fails for good in the second test, as CUDA does.
LOST = """
import pytest
import torch

lost = []

def wait(device=None):
    if lost:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\\nCUDA")

torch.cuda.is_initialized = lambda: True
torch.cuda.synchronize = torch.cuda.empty_cache = wait

@pytest.mark.gpu
@pytest.mark.parametrize("name", ["a", "b", "c", "d"])
def test_toys(name):
    if name == "b":
        lost.append(1)
"""


def run(folder, text, **options):
    (folder / "test_graphs.py").write_text(text)
    found = checks.outcomes("graphs", CPU, "tiny", folder=folder, **options)
    return {outcome.name: outcome for outcome in found}


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    return run(tmp_path_factory.mktemp("toys"), TOYS)


@pytest.mark.parametrize(
    ("name", "status", "detail"),
    [
        ("fine", "ok", "worst: out, 1 of 2"),
        ("wrong", "failed", "dq is off by 3, allowed 2"),
        ("raises", "failed", "RuntimeError: CUDA error: bad"),
        ("cannot", "unavailable", "no kernel"),
        ("too large", "unavailable", "the check does not fit"),
        ("no memory", "failed", "torch.OutOfMemoryError: CUDA out of memory"),
        ("settings", "ok", "cpu tiny"),
        ("test_alone", "failed", "ValueError: no inputs"),
    ],
)
def test_an_outcome_says_what_happened(name, status, detail, toys):
    assert toys[name] == Outcome("graphs", name, status, detail)


def test_every_marked_test_has_one_outcome_and_no_other_has(toys):
    assert len(toys) == 8


def test_a_device_that_fails_costs_what_comes_after_it_and_no_more(tmp_path):
    found = run(tmp_path, LOST)
    error = "CUDA error: an illegal memory access was encountered"
    assert [(name, o.status) for name, o in found.items()] == [
        ("a", "ok"), ("b", "failed"), ("c", "unavailable"), ("d", "unavailable"),
    ]  # fmt: skip
    assert found["b"].detail == f"RuntimeError: {error}"
    assert found["c"].detail == f"the device failed in test_toys[b]: {error}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import os; os._exit(9)", "pytest ended with 9"),
        ("import nothing_of_that_name", "pytest ended with 2"),
    ],
    ids=["the process ends", "the tests cannot be read"],
)
def test_a_process_that_ends_otherwise_is_a_failure(text, said, tmp_path):
    (outcome,) = run(tmp_path, text).values()
    assert (outcome.name, outcome.status) == ("what is left of it", "failed")
    assert outcome.detail.startswith(said)


def test_a_caller_that_is_interrupted_leaves_no_process(tmp_path, monkeypatch):
    started = []
    popen = subprocess.Popen

    def start(*arguments, **options):
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    (tmp_path / "test_graphs.py").write_text(
        "import time, pytest\n"
        "pytestmark = pytest.mark.gpu\n"
        "def test_a(): pass\n"
        "def test_b(): time.sleep(1000)\n"
    )
    found = checks.outcomes("graphs", CPU, "tiny", folder=tmp_path)
    assert next(found).name == "test_a"
    found.close()
    assert started[0].poll() is not None


def test_a_step_that_takes_too_long_is_ended_and_keeps_what_it_found(tmp_path, monkeypatch):
    line = MARK + json.dumps(Outcome("graphs", "a", "ok", "fine").as_dict())
    program = tmp_path / "python"  # says what a first test found, and is never done with a second
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' '{line}'\nexec sleep 1000\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    found = list(checks.outcomes("graphs", CPU, "tiny", 0.5))
    assert found == [
        Outcome("graphs", "a", "ok", "fine"),
        Outcome("graphs", checks.REST, "unavailable", "its 0 s were over"),
    ]


def test_every_step_is_a_file_of_tests():
    for step in CHECKS:
        assert "pytest.mark.gpu" in (checks.FOLDER / f"test_{step}.py").read_text()


@pytest.mark.slow
def test_steps_run_on_the_cpu_with_the_reference_in_the_kernels_place():
    # The others are run by the test of the whole command.
    found = {step: list(checks.outcomes(step, CPU, "tiny")) for step in ("determinism", "memory")}
    statuses = {step: {outcome.status for outcome in each} for step, each in found.items()}
    assert statuses == {"determinism": {"ok"}, "memory": {"unavailable"}}
    assert len(found["determinism"]) == 12
    assert all("CUDA" in outcome.detail for outcome in found["memory"])
