"""What becomes of a side that is wrong, fails, or cannot run: no speed, and a reason."""

from __future__ import annotations

import dataclasses
import gc

import pytest
import torch

from benchmarks import machine, memory, registry, runner
from benchmarks.measure import Plan
from benchmarks.vocabulary import Case, Cost, Op, Side
from benchmarks.worker import WorkerError

PLAN = Plan(seconds=0, min_rounds=2, max_rounds=2, warm_up=1, sample_seconds=0)
calls = []


def clock(call, repeats):
    call()
    return 0.5 if "fast" in calls[-1] else 1.0


def side(name, result, **options):
    def prepare(x, check):
        def call():
            calls.append(name)
            return {"out": result(x)}

        return call

    return Side(name, prepare, **options)


def fails(x):
    raise RuntimeError("no memory\nwith details")


OP = Op(
    "doubling",
    "Doubling",
    lambda case, device: torch.arange(case.shape["T"], device=device) / 3,
    lambda x, target, dtype: {"out": x.to(dtype) * (2 if target == "default" else 3)},
    lambda case: Cost(flops=float(case.shape["T"]), bytes=8.0),
    (
        side("fast", lambda x: x * 2, own=True),
        side("wrong", lambda x: x * 2 + 1e-3, own=True),
        side("slow", lambda x: x + x),
        side("tripling", lambda x: x * 3, target="triple"),
        side("absent", lambda x: x * 2, why_not=lambda x: ["no such chip", "no driver"]),
        side("broken", fails),
        side("misshapen", lambda x: x[1:] * 2),
    ),
    tiny={"T": 4},
)
CASE = Case(OP, {"T": 8}, tuple(s.name for s in OP.sides))


def run(case=CASE, **options):
    calls.clear()
    rows = runner.run_case(case, plan=PLAN, clock=clock, **options)
    return {row.side: row for row in rows}


def test_a_wrong_implementation_gets_no_speed_and_is_never_timed():
    row = run()["wrong"]
    assert row.status == "wrong"
    assert "out is off by 0.001" in row.reason
    assert row.seconds is None
    assert row.flops is None
    assert row.times_faster == {}
    assert calls.count("wrong") == 1  # the check
    # The check, the warm-up, and in every round the call before the sample and the sample.
    assert calls.count("fast") == 1 + PLAN.warm_up + 2 * PLAN.min_rounds


def test_nobody_is_compared_with_a_wrong_one():
    rows = run()
    assert "wrong" not in rows["fast"].times_faster
    assert rows["fast"].times_faster["slow"]["p50"] == 2
    assert rows["slow"].times_faster == {}


def test_a_peer_is_held_to_its_own_answer():
    assert run()["tripling"].status == "ok"


def test_one_failing_side_does_not_cost_the_others_their_results():
    rows = run()
    assert (rows["broken"].status, rows["broken"].reason) == ("error", "RuntimeError: no memory")
    assert rows["misshapen"].status == "error"
    assert "shape (7,), not (8,)" in rows["misshapen"].reason
    assert (rows["absent"].status, rows["absent"].reason) == (
        "unavailable",
        "no such chip; no driver",
    )
    assert rows["fast"].seconds == {"p20": 0.5, "p50": 0.5, "p80": 0.5, "count": 2}


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("no memory"), RuntimeError("no memory\nwith details")]
)
def test_a_side_that_fails_while_it_is_timed_costs_only_itself(error):
    def prepare(x, check):
        def call():
            calls.append("late")
            if not check:
                raise error
            return {"out": x * 2}

        return call

    op = dataclasses.replace(OP, sides=(*OP.sides, Side("late", prepare)))
    rows = run(dataclasses.replace(CASE, op=op, sides=("fast", "late", "slow")))
    assert (rows["late"].status, rows["late"].seconds) == ("error", None)
    assert rows["late"].reason == f"{type(error).__name__}: no memory"
    assert rows["slow"].status == "ok"
    assert rows["fast"].times_faster.keys() == {"slow"}


def test_an_answer_that_fails_costs_the_sides_that_are_held_to_it():
    def oracle(x, target, dtype):
        if target == "triple":
            raise torch.OutOfMemoryError("no memory")
        return OP.oracle(x, target, dtype)

    rows = run(dataclasses.replace(CASE, op=dataclasses.replace(OP, oracle=oracle)))
    assert rows["tripling"].status == "unavailable"
    assert "the float64 check does not fit" in rows["tripling"].reason
    assert rows["fast"].status == "ok"


def test_a_case_whose_check_needs_more_memory_than_there_is_is_left_out(monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda: 2**30)
    op = dataclasses.replace(OP, cost=lambda case: Cost(check_bytes=2.0**33))
    rows = run(dataclasses.replace(CASE, op=op))
    assert {row.status for row in rows.values()} == {"unavailable"}
    assert "needs about 8 GiB, 1 GiB are free" in rows["fast"].reason
    assert calls == []


def test_peak_memory_is_asked_for_the_named_sides_only(monkeypatch):
    asked = []

    def measure_peak(case, name, threads):
        asked.append((name, threads))
        return {"status": "ok", "reason": "", "peak_bytes": 123}

    monkeypatch.setattr(runner, "measure_peak", measure_peak)
    case = dataclasses.replace(CASE, memory=("fast", "slow", "wrong", "broken", "absent"))
    rows = run(case, threads=3)
    assert asked == [("fast", 3), ("slow", 3)]  # who computes nothing right takes no memory
    assert rows["fast"].peak_bytes == 123
    assert rows["wrong"].peak_bytes is None
    asked.clear()
    run(case, memory=False)
    assert asked == []


def test_a_side_of_which_only_the_memory_is_wanted_is_not_run_here(monkeypatch):
    answer = {"status": "ok", "reason": "", "peak_bytes": 123}
    monkeypatch.setattr(runner, "measure_peak", lambda case, name, threads: answer)
    rows = run(dataclasses.replace(CASE, sides=("fast",), memory=("slow",)))
    assert list(rows) == ["fast", "slow"]
    assert (rows["slow"].status, rows["slow"].peak_bytes) == ("not timed", 123)
    assert rows["slow"].seconds is None
    assert "slow" not in calls


def test_the_peak_counts_what_a_call_holds_at_once():
    gc.collect()  # garbage of earlier tests that went in between would make the peak lower
    before = memory.reset_peak()
    torch.ones(2**24)  # 64 MiB, freed at once
    assert memory.peak_resident() - before >= 60 * 2**20


def test_peak_memory_of_a_real_case_comes_from_its_own_process():
    case = registry.select("quick", ("attention_forward/additive/B1-H1-T200",))[0]
    answer = memory.measure_peak(case, "eager", 1)
    assert answer["status"] == "ok"
    assert 200 * 200 * 4 < answer["peak_bytes"] < 2**28


def test_a_side_that_cannot_run_has_no_peak():
    key = registry.select("quick", ("attention_forward/additive/B1-H1-T200",))[0].key
    answer = memory._work(key, "triton", 1)
    assert (answer["status"], answer["peak_bytes"]) == ("unavailable", None)
    assert "need CUDA tensors" in answer["reason"]


def test_a_process_that_fails_gives_the_reason():
    case = dataclasses.replace(registry.all_cases()[0], shape={"B": 1, "H": 1, "T": 3, "d": 1})
    answer = memory.measure_peak(case, "eager", 1)
    assert (answer["status"], answer["peak_bytes"]) == ("error", None)
    assert "no case is named" in answer["reason"]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_machine_is_described_without_naming_it(threads):
    described = machine.describe(threads)
    assert described["threads"] == threads
    assert set(described["versions"]) >= {"python", "torch", "ladnet_fast"}
    name = machine.slug(described)
    assert name.endswith(f"t{threads}-{machine.instruction_set()}")
    assert name == name.lower()
    assert " " not in name


def test_each_case_runs_in_a_process_of_its_own():
    said = []
    case = registry.find("ddl_forward/default/N128-T200-C128/float32")
    rows = runner.run_cases([case], plan=PLAN, threads=1, memory=False, progress=said.append)
    assert [row["side"] for row in rows] == list(case.sides)
    found = {row["side"]: row for row in rows}
    assert found["eager"]["status"] == "ok"
    assert found["eager"]["seconds"]["count"] == 2
    assert said[0] == f"[1/1] {case.key}"
    assert len(said) == 1 + len(rows)


def test_a_case_whose_process_dies_is_an_error_of_its_sides_alone(monkeypatch):
    def run_worker(module, request, *, threads):
        if "N128" in request:
            raise WorkerError("the process ended with status -9")
        return {"measurements": []}

    monkeypatch.setattr(runner, "run_worker", run_worker)
    cases = [case for case in registry.all_cases() if case.op.name == "ddl_forward_backward"]
    said = []
    rows = runner.run_cases(cases, plan=PLAN, threads=1, memory=True, progress=said.append)
    (dead,) = (case for case in cases if case.shape["N"] == 128)
    assert {row["side"] for row in rows} == {*dead.sides, *dead.memory}
    assert {(row["status"], row["reason"], row["shape"]["N"]) for row in rows} == {
        ("error", "the process ended with status -9", 128)
    }
    assert sum(line.startswith("[") for line in said) == len(cases) > 1
