"""The parts of a run on a GPU that are other programs: build, compilation, sanitizer."""

from __future__ import annotations

import json
import math
import os
import sys

import pytest

from benchmarks.gpu import build, compiling, processes, sanitizer, table
from benchmarks.gpu.compiling import MARK, Job
from benchmarks.gpu.outcome import Outcome
from benchmarks.gpu.parts import SHARES, STEPS, Deadlines


def program(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


# ---- Time ----------------------------------------------------------------------------------------


def test_parts_share_the_time_and_inherit_what_is_left_over():
    now = [100.0]
    times = Deadlines(STEPS, 600.0, lambda: now[0])
    assert sum(SHARES.values()) == 600
    assert times.left("build") == 75
    assert times.left("ceilings") == 90
    assert times.left(STEPS[-1]) == 600
    now[0] += 80.0
    assert (times.left("build"), times.left("ceilings"), times.elapsed()) == (0, 10, 80)
    assert "build has to end 75 s into the run of 10 minutes" in times.no_time("build")


def test_one_part_has_all_of_the_time_and_without_a_limit_there_is_always_some():
    assert Deadlines(["speed"], 60.0, lambda: 0.0).left("speed") == 60
    assert Deadlines(STEPS).left("memory") == math.inf


def test_what_is_out_of_time_is_ended_with_its_children(tmp_path):
    text, status = processes.run(
        ["sh", "-c", "echo before; sleep 1000 & wait"], 0.3, tmp_path, os.environ
    )
    assert (text, status) == ("before\n", None)
    assert processes.run(["sh", "-c", "echo $X; exit 3"], 9, tmp_path, {"X": "1"}) == ("1\n", 3)


# ---- Build ---------------------------------------------------------------------------------------


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A folder that is all of PATH, with an nvcc in it; returns the checkout beside it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program(folder / "nvcc", "")
    for name in ("CUDACXX", "CUDA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    monkeypatch.setattr(build.shutil, "which", lambda name: found if os.access(
        found := str(folder / name), os.X_OK) else None)  # fmt: skip
    (tmp_path / "ladnet_fast").mkdir()
    return tmp_path


CMAKE = """
case "$1" in
  --build) touch "{root}/ladnet_fast/_cuda.abi3.so";;
  *) printf '%s\\n' "$@" > "{root}/configured";;
esac
"""


def test_the_module_is_built_for_one_gpu_with_all_cores(tools):
    program(tools / "bin" / "cmake", CMAKE.format(root=tools))
    old = tools / "ladnet_fast" / "_cuda.cpython-312-x86_64-linux-gnu.so"
    old.touch()
    os.utime(old, (0, 0))
    outcome = build.build(90, 60.0, tools)
    cores = len(os.sched_getaffinity(0))
    assert outcome == Outcome("build", build.NAME, "ok", f"for sm_90, with {cores} jobs")
    given = (tools / "configured").read_text().splitlines()
    assert "-DLADNET_CUDA_ARCHS=90-real" in given
    assert f"-DPython_EXECUTABLE={sys.executable}" in given
    assert f"-DCMAKE_CUDA_COMPILER={tools / 'bin' / 'nvcc'}" in given
    assert f"-DLADNET_OUTPUT_DIR={tools / 'ladnet_fast'}" in given
    assert [path.name for path in (tools / "ladnet_fast").iterdir()] == ["_cuda.abi3.so"]


@pytest.mark.parametrize(
    ("script", "seconds", "status", "said"),
    [
        ("echo fine; echo 'x.cu(3): error: no such thing'; echo bye; exit 2", 60.0, "failed",
         "x.cu(3): error: no such thing; see "),
        ("exit 1", 60.0, "failed", "the build ended without a word; see "),
        ("sleep 1000", 0.3, "failed", "not built in 0 s; see "),
        (None, 60.0, "unavailable", "cmake not found on PATH"),
    ],
    ids=["an error", "silence", "too long", "no cmake"],
)  # fmt: skip
def test_a_build_that_fails_says_why(tools, script, seconds, status, said):
    if script is not None:
        program(tools / "bin" / "cmake", script)
    outcome = build.build(90, seconds, tools)
    assert (outcome.status, outcome.detail[: len(said)]) == (status, said)


# ---- Compilation ---------------------------------------------------------------------------------


def test_jobs_that_share_few_kernels_come_first():
    cases = table.select(True, ("attention_forward/additive/B1-",))
    found = compiling.jobs(cases, ["a problem"])
    sides = [job.side for job in found]
    assert "eager" not in sides
    candidates = {"triton_descriptors", "triton_specialized"}  # of long bags
    kinds = {"triton", "triton_no_prior", "triton_unsplit", "flex_band"} | candidates
    assert kinds == {s for s in sides if s}
    # One of each kind before, the same kinds at other lengths behind.
    assert sides.index("") == len(kinds)
    assert len(found) == 4 * len(cases) + 2 * (len(cases) - 1) + 1
    assert len(compiling.jobs(cases, ["a problem"], tiny=True)) == 2


#: Does what a job is named: answers, fails, or dies.
WORKER = f"""
while read -r line; do
  case "$line" in
    *good*) printf 'noise\\n%s""\\n' '{MARK}';;
    *bad*) printf '%s"no such kernel"\\n' '{MARK}';;
    *dead*) exit 9;;
    *slow*) sleep 1000;;
  esac
done
"""


@pytest.fixture
def workers(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(program(tmp_path / "python", WORKER)))


def test_a_job_that_fails_costs_itself_alone(workers):
    todo = [Job(name) for name in ("good", "dead", "bad", "good again")]
    *failed, last = compiling.outcomes(todo, "cuda", "quick", 60.0, 2)
    assert {outcome.name: outcome.detail for outcome in failed} == {
        "dead": "its process ended with 9",
        "bad": "no such kernel",
    }
    assert {outcome.status for outcome in failed} == {"unavailable"}
    assert last == Outcome("compile", "kernels", "ok", "4 of 4 calls in 2 processes")


def test_what_is_not_compiled_in_time_is_left_to_those_who_use_it(workers):
    todo = [Job("good"), Job("slow"), Job("good, too")]
    (outcome,) = compiling.outcomes(todo, "cuda", "quick", 1.0, 1)
    assert outcome.status == "unavailable"
    assert outcome.detail == (
        "1 s were not enough: 1 of 3 calls in 1 processes; the others are compiled where they are "
        "used"
    )


def test_a_job_is_one_line_of_json():
    job = Job("attention_forward/additive/B1/bfloat16", "triton")
    assert Job(**json.loads(json.dumps(job.__dict__))) == job
    assert job.title == "attention_forward/additive/B1/bfloat16, triton"


# ---- compute-sanitizer ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "returncode", "status", "detail"),
    [
        ("9 passed in 3 s\n========= ERROR SUMMARY: 0 errors\n", 0, "ok",
         "ERROR SUMMARY: 0 errors; 9 passed in 3 s"),
        ("========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)", 0, "ok",
         "RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings); the tests ended well"),
        ("========= COMPUTE-SANITIZER\n========= Invalid __global__ read of size 4 bytes\n"
         "=========     at attention_forward+0x10\n========= ERROR SUMMARY: 2 errors", 0, "failed",
         "ERROR SUMMARY: 2 errors; Invalid __global__ read of size 4 bytes; "
         "at attention_forward+0x10"),
        ("========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)", None, "failed",
         "RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)"),
        ("========= Device not supported. Please refer to the documentation", 1, "unavailable",
         "Device not supported. Please refer to the documentation"),
        ("E   boom\n1 failed\n========= ERROR SUMMARY: 0 errors", 1, "failed",
         "it ended with 1: ========= ERROR SUMMARY: 0 errors"),
        ("", -11, "failed", "it ended with -11: nothing was printed"),
        ("collecting", None, "unavailable", sanitizer.STOPPED),
    ],
    ids=["no errors", "no hazards", "errors", "a hazard", "refused", "tests failed", "crashed",
         "stopped"],
)  # fmt: skip
def test_what_a_tool_printed_is_judged(text, returncode, status, detail):
    assert sanitizer.judge(text, returncode) == (status, detail)


def test_every_tool_watches_small_checks(tmp_path, monkeypatch):
    script = 'echo "1 passed, $LADNET_GPU_SIZES $4"; echo "========= ERROR SUMMARY: 0 errors"'
    tool = str(program(tmp_path / "sanitizer", script))
    found = list(sanitizer.outcomes("cuda:0", 60.0, tool))
    assert [(o.name, o.status) for o in found] == [("memcheck", "ok"), ("racecheck", "ok")]
    assert all("1 passed, small all" in outcome.detail for outcome in found)
    (elsewhere,) = sanitizer.outcomes("cpu", 60.0, tool)
    (missing,) = sanitizer.outcomes("cuda:0", 60.0, "no-such-program")
    assert (elsewhere.detail, missing.detail) == (
        "it needs a CUDA device", "no-such-program is not on PATH"
    )  # fmt: skip


def test_a_tool_that_takes_too_long_is_stopped(tmp_path):
    tool = str(program(tmp_path / "sanitizer", "sleep 1000"))
    (status, detail) = sanitizer._run(tool, "memcheck", "tests", "cuda", 0.0)
    assert (status, detail) == (
        "unavailable", "0 s were not enough; nothing was found until then"
    )  # fmt: skip
