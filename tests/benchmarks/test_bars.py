"""Speed bars, held against canned measurements."""

from __future__ import annotations

import pytest

from benchmarks import bars
from benchmarks.ceilings import FMA, FMA_AVX2

from .conftest import attention, canned


def verdict(rows, title, instruction_set="avx512"):
    [found] = [v for v in bars.judge(rows, instruction_set) if v.bar.title.startswith(title)]
    return found


def test_a_run_that_reaches_everything_passes_every_bar(rows):
    outcomes = {v.bar.title: v.outcome for v in bars.judge(rows, "avx512")}
    assert set(outcomes.values()) == {"pass", "no bar"}
    assert [title for title, outcome in outcomes.items() if outcome == "no bar"] == [
        "the same",
        "time for the same",
    ]


def test_nothing_measured_is_neither_pass_nor_fail():
    assert {v.outcome for v in bars.judge([], "avx512")} == {"not measured"}


def test_the_worst_length_decides(rows):
    title = "attention forward, fp32"
    assert verdict(rows, title).worst == ("T 2,048", pytest.approx(2.52048))
    for row in rows:
        if row["op"] == "attention_forward" and row["shape"].get("T") == 8192:
            row["times_faster"] = {"sdpa": {"p50": 1.69}}
    found = verdict(rows, title)
    assert found.worst == ("T 8,192", 1.69)
    assert found.outcome == "fail"
    assert found.aim_reached is False


def test_short_bags_are_not_judged_by_the_bars_of_long_ones(rows):
    slow = canned("attention_forward", "native", attention(200), own=True, faster={"sdpa": 0.1})
    assert verdict([*rows, slow], "attention forward, fp32").outcome == "pass"


def test_bounds_are_those_of_the_instruction_set(rows):
    title = "attention forward, fp32"
    assert verdict(rows, title, "avx512").bound == 1.7
    assert verdict(rows, title, "avx2").bound == 1.05
    assert verdict(rows, title, "baseline").outcome == "no bar"
    assert verdict(rows, "attention forward, bf16", "avx2").outcome == "no bar"


@pytest.mark.parametrize(
    ("instruction_set", "peaks", "expected"),
    [
        ("avx512", {FMA: 480.0, FMA_AVX2: 240.0}, "avx512"),
        ("avx512", {FMA: 230.0, FMA_AVX2: 225.0}, "avx2"),
        ("avx512", {FMA: None, FMA_AVX2: None}, "avx512"),
        ("avx512", {}, "avx512"),
        ("avx2", {FMA: 230.0}, "avx2"),
        ("baseline", {FMA: 60.0}, "baseline"),
    ],
)
def test_avx512_in_two_halves_has_the_bounds_of_avx2(instruction_set, peaks, expected):
    ceilings = [{"name": name, "value": value} for name, value in peaks.items()]
    assert bars.bounds_of(instruction_set, ceilings) == expected


@pytest.mark.parametrize(("cost", "outcome"), [(1.05, "pass"), (1.06, "fail")])
def test_the_cost_of_the_prior_may_be_at_most_the_bound(cost, outcome):
    row = canned(
        "attention_forward", "native_no_prior", attention(4096), own=True, faster={"native": cost}
    )
    assert verdict([row], "time with the prior").outcome == outcome


def test_memory_is_judged_as_a_share_and_by_its_growth(rows):
    assert verdict(rows, "peak memory of attention").worst == ("T 16,384", 10 / 16384)
    assert verdict(rows, "growth of that memory").worst[1] == pytest.approx(1.0)
    for row in rows:
        if row["side"] == "native" and row["peak_bytes"]:
            row["peak_bytes"] = row["shape"]["T"] ** 2
    assert verdict(rows, "peak memory of attention").outcome == "fail"
    assert verdict(rows, "growth of that memory").outcome == "fail"


def test_the_copy_is_a_lower_bound_of_the_losses_time(rows):
    found = verdict(rows, "the same")
    assert found.bar.peer == "a copy of the features"
    assert found.worst[1] == pytest.approx(1 / 0.6)
    assert found.aim_reached is True


def test_a_day_that_was_scored_wrongly_reaches_nothing(rows):
    for row in rows:
        if row["op"] == "day_of_video":
            row["status"] = "wrong"
    assert verdict(rows, "memory of a process").outcome == "not measured"
