"""Percentiles, ratios and growth, on numbers whose answers are known."""

from __future__ import annotations

import math

import pytest

from benchmarks.stats import growth_exponent, paired_ratio, summarise


def test_percentiles_are_the_20th_50th_and_80th():
    summary = summarise([float(x) for x in range(100, -1, -1)])
    assert (summary.p20, summary.p50, summary.p80, summary.count) == (20, 50, 80, 101)


def test_a_ratio_pairs_the_rounds_so_that_a_slow_moment_drops_out():
    ours, theirs = [1.0, 1.0, 10.0], [3.0, 3.0, 30.0]
    ratio = paired_ratio(theirs, ours)
    assert (ratio.p20, ratio.p50, ratio.p80) == (3, 3, 3)


@pytest.mark.parametrize("samples", [[], [1.0, math.nan], [math.inf]])
def test_what_is_no_measurement_is_refused(samples):
    with pytest.raises(ValueError, match="samples"):
        summarise(samples)


def test_rounds_of_one_side_alone_have_no_ratio():
    ratio = paired_ratio([3.0, 6.0], [1.0, 2.0, 100.0])
    assert (ratio.p20, ratio.p80, ratio.count) == (3, 3, 2)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 1.5])
def test_the_growth_exponent_is_that_of_a_power_law(exponent):
    points = {T: 3e-9 * T**exponent for T in (1024, 2048, 8192)}
    assert growth_exponent(points) == pytest.approx(exponent, abs=1e-9)


def test_growth_leaves_small_sizes_out_and_needs_two_points():
    points = {200: 1.0, 1024: 2.0, 4096: 8.0}
    assert growth_exponent(points, least=1024) == pytest.approx(1.0)
    assert growth_exponent(points, least=4096) is None
