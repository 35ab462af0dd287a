"""The checks find what is wrong, and say what they could not look at."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from benchmarks.cases import attention
from benchmarks.check import OutputError
from benchmarks.gpu import correctness, determinism, graphs, memory, problems
from benchmarks.gpu.outcome import Unavailable, judge_errors, run_check
from benchmarks.gpu.sizes import TINY
from benchmarks.registry import Case

CPU = torch.device("cpu")


@pytest.fixture
def reference(monkeypatch):
    """Let the reference stand in for the kernels: the checks themselves are tested here."""
    monkeypatch.setitem(problems.OWN, "cpu", dict.fromkeys(problems.OWN["cpu"], "reference"))


def raises():
    raise RuntimeError("out of memory\nwith details")


def cannot():
    raise Unavailable("no GPU")


@pytest.mark.parametrize(
    ("check", "status", "detail"),
    [
        (lambda: (True, "fine"), "ok", "fine"),
        (lambda: (False, "off by 1"), "failed", "off by 1"),
        (raises, "failed", "RuntimeError: out of memory"),
        (cannot, "unavailable", "no GPU"),
    ],
)
def test_an_outcome_says_what_happened(check, status, detail):
    outcome = run_check("step", "name", check)
    assert (outcome.status, outcome.detail) == (status, detail)
    assert outcome.as_dict()["step"] == "step"


def test_errors_are_judged_by_the_worst():
    good, bad = OutputError("out", 0.5, 1.0), OutputError("dq", 3.0, 2.0)
    assert judge_errors([good]) == (True, "worst: out, 0.5 of the 1 allowed")
    assert judge_errors([good, bad]) == (False, "dq is off by 3, allowed 2")
    assert not judge_errors([OutputError("out", float("nan"), 1.0)])[0]


# ---- Correctness ---------------------------------------------------------------------------------


def test_every_problem_is_right_with_the_reference(reference):
    outcomes = list(correctness.check_all(CPU, TINY))
    assert {outcome.name.partition(":")[0] for outcome in outcomes} == set(problems.OWN["cpu"])
    assert [o for o in outcomes if o.status != "ok"] == []


def test_a_real_run_checks_more_head_sizes(reference):
    sizes = dataclasses.replace(TINY, other_head_sizes=(24,), dtypes=(torch.float32,))
    assert any("d 24" in p.name for p in problems.all_problems(CPU, sizes))


def test_lengths_are_ragged_and_reach_both_ends():
    for least in (0, 1):
        lengths = problems.ragged_lengths(TINY, least)
        assert len(lengths) == TINY.bags
        assert (min(lengths), max(lengths)) == (least, TINY.snippets)
    assert problems.ragged_lengths(TINY, 0, seed=1) != problems.ragged_lengths(TINY, 0, seed=2)


@pytest.mark.parametrize("make", ["attention", "ddl", "head"])
def test_a_wrong_result_fails(reference, make):
    problem = {
        "attention": lambda: problems.attention(CPU, TINY, torch.float32, "padded", "additive"),
        "ddl": lambda: problems.ddl(CPU, TINY, torch.float32, "padded"),
        "head": lambda: problems.head(CPU, TINY, torch.float32),
    }[make]()
    right = problem.own()
    assert correctness.judge(dataclasses.replace(problem, own=lambda: dict(right)))[0]
    for name in right:
        wrong = {**right, name: right[name] * (1 + 1e-3) + 1e-3}
        passed, detail = correctness.judge(dataclasses.replace(problem, own=lambda w=wrong: w))
        assert not passed
        assert name in detail


def test_a_kernel_that_cannot_serve_is_not_judged(reference):
    problem = problems.head(CPU, TINY, torch.float32)
    with pytest.raises(Unavailable, match="no driver"):
        correctness.judge(dataclasses.replace(problem, why_not=["no driver"]))


# ---- Determinism ---------------------------------------------------------------------------------


def test_bits_are_compared_not_values():
    zero, nan = torch.tensor([0.0]), torch.tensor([float("nan")])
    assert not determinism.same_bits(zero, -zero)
    assert determinism.same_bits(nan, nan.clone())
    assert not determinism.same_bits(zero, zero.double())
    assert not determinism.same_bits(zero, torch.zeros(2))
    assert determinism.same_bits(zero.bfloat16(), zero.bfloat16())


def test_calls_that_repeat_themselves_pass(reference):
    sizes = dataclasses.replace(TINY, dtypes=(torch.float32,), repeats=3)
    outcomes = list(determinism.check_all(CPU, sizes))
    assert len(outcomes) == 5
    assert {outcome.status for outcome in outcomes} == {"ok"}


def test_a_bit_that_changes_in_one_call_is_found(reference):
    problem = problems.head(CPU, TINY, torch.float32)
    calls = []

    def own():
        calls.append(1)
        found = problem.own()
        if len(calls) == 7:
            found["dweight"][0, 0, 0] = torch.nextafter(
                found["dweight"][0, 0, 0], torch.tensor(torch.inf)
            )
        return found

    changing = dataclasses.replace(problem, own=own)
    passed, detail = determinism.repeat([changing], 10)
    assert not passed
    assert detail.startswith("dweight changed in call 7")


def test_memory_is_poisoned_before_every_repeated_call(reference, monkeypatch):
    problem = problems.head(CPU, TINY, torch.float32)
    order = []
    monkeypatch.setattr(determinism, "_poison", lambda outputs: order.append("poison"))

    def own():
        order.append("call")
        return problem.own()

    assert determinism.repeat([dataclasses.replace(problem, own=own)], 3)[0]
    assert order == ["call", "poison", "call", "poison", "call"]


# ---- Memory and graphs ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bytes_at", "passed"),
    [(lambda T: 512 * T, True), (lambda T: 512 * T + 2**20, True), (lambda T: T**2, False)],
    ids=["linear", "linear and a constant", "quadratic"],
)
def test_peak_memory_must_be_linear(bytes_at, passed):
    asked = []

    def peak(case, side, device):
        asked.append((case.shape["T"], side))
        return bytes_at(case.shape["T"])

    found, detail = memory.judge(attention.FORWARD, "additive", CPU, TINY, peak)
    assert found is passed
    assert detail.startswith("T^")
    assert asked == [(T, "triton") for T in TINY.memory]


def test_the_peak_is_what_a_second_call_adds_to_what_was_there(monkeypatch):
    events = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1000)
    monkeypatch.setattr(
        torch.cuda, "reset_peak_memory_stats", lambda device: events.append("reset")
    )
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 1700)
    op = attention.FORWARD
    case = Case(op, op.tiny, ("eager",), variant="additive")
    side = dataclasses.replace(
        op.side("eager"), prepare=lambda inputs, check: lambda: events.append("call")
    )
    case = dataclasses.replace(case, op=dataclasses.replace(op, sides=(side,)))
    assert memory.measure_peak(case, "eager", CPU) == 700
    assert events == ["call", "reset", "call"]


def test_one_length_tells_no_growth():
    sizes = dataclasses.replace(TINY, memory=(64,))
    found, detail = memory.judge(attention.FORWARD, "additive", CPU, sizes, lambda *_: 1)
    assert not found
    assert "no growth" in detail


@pytest.mark.parametrize("module", [memory, graphs])
def test_what_needs_a_gpu_says_so(module):
    outcomes = list(module.check_all(CPU, TINY))
    assert {outcome.status for outcome in outcomes} == {"unavailable"}
    assert all("CUDA" in outcome.detail for outcome in outcomes)
