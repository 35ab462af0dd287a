"""How sides take turns, with a clock that only counts."""

from __future__ import annotations

import dataclasses
import functools
import gc

import pytest

from benchmarks import measure
from benchmarks.measure import Plan, interleaved


class CountingClock:
    """Calls a side once a repeat and claims that a call takes a given time."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.order = []

    def __call__(self, call, repeats):
        for _ in range(repeats):
            self.order.append(call())
        return self.seconds


def test_all_sides_of_a_round_run_and_the_first_one_rotates():
    clock = CountingClock(1.0)
    plan = Plan(seconds=0, min_rounds=3, max_rounds=3, warm_up=1, sample_seconds=0.5)
    samples = interleaved({"a": lambda: "a", "b": lambda: "b", "c": lambda: "c"}, plan, clock)
    assert samples == {"a": [1.0] * 3, "b": [1.0] * 3, "c": [1.0] * 3}
    assert "".join(clock.order) == "abc" + "abc" + "bca" + "cab"


def test_sides_that_are_far_behind_leave_after_their_rounds():
    order = []
    speed = {"a": 1.0, "b": 1.9, "c": 2.1}

    def clock(call, repeats):
        order.append(call())
        return speed[order[-1]]

    plan = Plan(seconds=0, min_rounds=2, close_rounds=4, max_rounds=9, warm_up=1, sample_seconds=0)
    sides = {name: functools.partial(str, name) for name in speed}
    samples = interleaved(sides, plan, clock)
    assert {name: len(seconds) for name, seconds in samples.items()} == {"a": 4, "b": 4, "c": 2}
    assert "".join(order) == "abc" + "abc" + "bca" + "ab" + "ba"

    hurried = dataclasses.replace(plan, close_seconds=-1.0)
    assert {len(seconds) for seconds in interleaved(sides, hurried, clock).values()} == {2}

    alone = {name: sides[name] for name in "ac"}
    assert len(interleaved(alone, plan, clock)["a"]) == 2


def test_every_sample_follows_an_untimed_call_of_its_own_side():
    happened = []

    def clock(call, repeats):
        happened.append("(")
        for _ in range(repeats):
            call()
        happened.append(")")
        return 1.0

    sides = {name: functools.partial(happened.append, name) for name in "ab"}
    interleaved(sides, Plan(seconds=0, min_rounds=2, max_rounds=2, warm_up=1), clock)
    assert "".join(happened) == "(a)(b)" + "a(a)b(b)" + "b(b)a(a)"


def test_a_quick_call_is_repeated_until_a_sample_is_long_enough():
    clock = CountingClock(0.001)
    plan = Plan(seconds=0, min_rounds=2, max_rounds=2, warm_up=1, sample_seconds=0.005)
    samples = interleaved({"a": lambda: "a"}, plan, clock)
    assert samples == {"a": [0.001, 0.001]}
    assert len(clock.order) == 1 + 2 * 5


def test_garbage_collection_waits_and_comes_back_even_after_an_error():
    seen = []

    def clock(call, repeats):
        seen.append(gc.isenabled())
        if len(seen) == 2:
            raise RuntimeError("a side failed")
        return 1.0

    with pytest.raises(RuntimeError, match="a side failed"):
        interleaved({"a": lambda: None}, Plan(warm_up=1), clock)
    assert seen == [True, False]
    assert gc.isenabled()


def test_untimed_calls_go_on_until_the_side_before_has_left_nothing_behind(monkeypatch):
    now, timed = [0.0], []

    def call():
        now[0] += 0.25

    def clock(call, repeats):
        timed.append(now[0])
        return 1.0

    monkeypatch.setattr(measure.time, "perf_counter", lambda: now[0])
    plan = Plan(seconds=0, min_rounds=2, max_rounds=2, warm_up=1, settle_seconds=0.6)
    interleaved({"a": call}, plan, clock)
    # Three calls, the least that take 0.6 s, and then a sample, whose clock calls nothing here.
    assert timed == [0.0, 0.75, 1.5]
