"""Every entry of the registry builds its inputs and computes the right thing, at tiny sizes."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from benchmarks import peers, registry, runner, vocabulary
from benchmarks.check import compare
from benchmarks.measure import Plan

CASES = registry.all_cases()
TINY = list({case.tiny().key: case.tiny() for case in CASES}.values())
#: No timing here: a clock that calls once and returns a constant.
ONCE = Plan(seconds=0, min_rounds=1, max_rounds=1, warm_up=1, sample_seconds=0)


def still(call, repeats):
    call()
    return 1.0


@pytest.fixture(autouse=True)
def _eager_instead_of_compiled(monkeypatch):
    # The wiring is tested here, not the compiler, which would take minutes.
    monkeypatch.setattr(peers, "compiled", lambda function: function)
    monkeypatch.setattr(peers, "compile_problem", lambda device: None)


def test_keys_are_unique_and_found_again():
    assert len({case.key for case in CASES}) == len(CASES)
    assert all(registry.find(case.key).key == case.key for case in CASES)
    with pytest.raises(KeyError, match="benchmarks list"):
        registry.find("attention_forward/nothing")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_a_case_names_sides_that_its_operator_has(case):
    for name in (*case.sides, *case.memory):
        case.op.side(name)
    assert case.shape.keys() == case.op.tiny.keys()
    assert case.op.varies is None or case.op.varies in case.shape


@pytest.mark.parametrize("case", TINY, ids=lambda case: case.key)
def test_every_side_is_right_or_says_why_it_cannot_run(case):
    case = dataclasses.replace(case, sides=tuple(side.name for side in case.op.sides))
    rows = runner.run_case(case, plan=ONCE, clock=still, memory=False)
    assert [row.side for row in rows] == list(case.sides)
    for row in rows:
        assert row.status in ("ok", "unavailable"), (row.side, row.reason)
        assert bool(row.reason) == (row.status == "unavailable")
        assert (row.seconds is not None) == (row.status == "ok")
    assert any(row.side == "eager" and row.status == "ok" for row in rows)


@pytest.mark.parametrize("case", TINY, ids=lambda case: case.key)
def test_inputs_are_the_same_at_every_build(case):
    device = torch.device("cpu")
    target = case.variant
    first, second = (
        case.op.oracle(case.op.build(case, device), target, case.dtype) for _ in range(2)
    )
    assert all(entry.error == 0 for entry in compare(first, second, second))


@pytest.mark.parametrize("subset", vocabulary.SUBSETS)
def test_a_subset_is_not_empty_and_only_the_full_one_compiles(subset):
    chosen = registry.select(subset)
    assert any("compiled" in case.sides for case in chosen) == (subset == "full")
    assert all(subset in case.subsets for case in chosen)


def test_selecting_by_pattern_and_selecting_nothing():
    assert {case.op.name for case in registry.select("full", ("ddl_forward/",))} == {"ddl_forward"}
    with pytest.raises(ValueError, match="no case of the subset 'quick' matches nonsense"):
        registry.select("quick", ("nonsense",))
    with pytest.raises(ValueError, match="subset must be one of"):
        registry.select("all")
    with pytest.raises(ValueError, match="fast"):
        vocabulary.subsets("fast")


def test_an_unknown_side_is_named():
    with pytest.raises(KeyError, match="has no side 'flash'"):
        CASES[0].op.side("flash")


def test_torch_compile_is_tried_where_the_inputs_are(monkeypatch):
    tried = []
    monkeypatch.setattr(peers, "compile_problem", lambda device: tried.append(device))
    for case in TINY:
        for side in case.op.sides:
            if side.name == "compiled":
                assert side.why_not(case.op.build(case, torch.device("meta"))) == []
    assert tried == [torch.device("meta")] * len(tried)
    assert len(tried) > 5


def test_a_compiler_that_fails_on_the_device_is_the_reason(monkeypatch):
    monkeypatch.undo()
    peers.compile_problem.cache_clear()

    def compile_(function, dynamic):
        def call(x):
            if x.device.type != "cpu":
                raise RuntimeError("no Triton\nat all")

        return call

    monkeypatch.setattr(torch, "compile", compile_)
    try:
        assert peers.compile_problem(torch.device("cpu")) is None
        assert peers.compile_problem(torch.device("meta")) == (
            "torch.compile fails here: RuntimeError: no Triton"
        )
    finally:
        peers.compile_problem.cache_clear()
