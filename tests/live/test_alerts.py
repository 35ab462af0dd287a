"""When scores become an event, and when it is over."""

from __future__ import annotations

from typing import Any

import pytest

from ladnet_fast.live import Alarm, Alert, AlertRule

EACH = 0.64  # seconds of a snippet


def alerts_of(
    scores: list[float], gaps: dict[int, float] | None = None, **rule: Any
) -> list[Alert]:
    alarm, found, time = Alarm(AlertRule(**rule)), [], 0.0
    for i, score in enumerate(scores):
        time += (gaps or {}).get(i, 0.0)
        found.append(alarm.update(time, EACH, score))
        time += EACH
    found.append(alarm.close("end"))
    return [alert for alert in found if alert is not None]


def test_an_event_begins_once_scores_were_high_for_long_enough() -> None:
    start, end = alerts_of([0.1, 0.9, 0.7, 0.8, 0.1], threshold=0.5, hold=1.9)
    assert (start.state, start.event, start.begin) == ("start", 1, EACH)
    assert start.until == pytest.approx(4 * EACH)
    assert (start.peak, start.peak_time, start.score, start.reason) == (0.9, EACH, 0.8, None)
    assert (end.state, end.event, end.reason, end.score) == ("end", 1, "release", 0.1)
    assert end.until == pytest.approx(4 * EACH)


def test_a_dip_before_that_begins_the_wait_anew() -> None:
    assert alerts_of([0.9, 0.9, 0.4, 0.9, 0.9], threshold=0.5, hold=1.9, release=0.1) == []


def test_an_event_outlasts_scores_between_the_two_levels() -> None:
    hovering = [0.9, 0.45, 0.55, 0.41, 0.6, 0.39, 0.9]
    with_gap = alerts_of(hovering, threshold=0.5, hold=0, release=0.4)
    assert [(a.state, a.reason) for a in with_gap] == [
        ("start", None), ("end", "release"), ("start", None), ("end", "end"),
    ]  # fmt: skip
    without = alerts_of(hovering, threshold=0.5, hold=0, release=0.5)
    assert sum(a.state == "start" for a in without) == 4


def test_the_level_of_release_is_four_fifths_of_the_threshold() -> None:
    assert [a.state for a in alerts_of([0.5, 0.4, 0.39], threshold=0.5, hold=0)] == ["start", "end"]


def test_levels_themselves_count_as_high() -> None:
    assert len(alerts_of([0.5, 0.4, 0.4], threshold=0.5, hold=0, release=0.4)) == 2


def test_a_whole_number_of_snippets_is_enough() -> None:
    """3 x 0.64 s are 1.92 s, whatever the sum of fractions is."""
    assert len(alerts_of([0.9] * 3, threshold=0.5, hold=1.92)) == 2
    assert alerts_of([0.9] * 2, threshold=0.5, hold=1.92) == []


def test_frames_that_were_left_out_are_time_that_passed() -> None:
    assert len(alerts_of([0.9, 0.9], {1: 3.0}, threshold=0.5, hold=3.5)) == 2


def test_the_peak_is_the_highest_of_the_whole_event() -> None:
    start, end = alerts_of([0.6, 0.7, 0.95, 0.5], threshold=0.5, hold=0)
    assert (start.peak, end.peak, end.peak_time) == (0.6, 0.95, 2 * EACH)


def test_nothing_high_is_no_event() -> None:
    assert alerts_of([0.1, 0.2], threshold=0.5, hold=0) == []
    assert alerts_of([], threshold=0.5, hold=0) == []


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"threshold": 1.5}, "threshold must be in"),
        ({"threshold": float("nan")}, "threshold must be in"),
        ({"hold": -1}, "hold must be at least 0"),
        ({"threshold": 0.5, "release": 0.6}, r"release must be in \[0, threshold = 0.5\]"),
    ],
    ids=["threshold", "nan", "hold", "release"],
)
def test_a_rule_that_makes_no_sense_is_refused(rule: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        AlertRule(**rule)
