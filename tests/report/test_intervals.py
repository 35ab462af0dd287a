"""Intervals above a threshold, and their files."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from ladnet_fast._times import clock, snippet_borders, time_ticks
from ladnet_fast.report import as_csv, as_json, as_srt, intervals

CURVE = [0.9, 0.2, 0.5, 0.7, 0.7, 0.1, 0.1, 0.1, 0.6, 0.49]


def spans(found: list) -> list[tuple[int, int, int]]:
    return [(entry.first_snippet, entry.last_snippet, entry.peak_snippet) for entry in found]


def by_hand(scores: np.ndarray, threshold: float, shortest: int, gap: int) -> list[tuple[int, int]]:
    """The rule, snippet by snippet."""
    above = [bool(score >= threshold) for score in scores]
    for t in range(len(above)):
        if above[t] and True in above[t + 1 :]:
            distance = above[t + 1 :].index(True)
            if distance <= gap:
                above[t + 1 : t + 1 + distance] = [True] * distance
    found, t = [], 0
    while t < len(above):
        stop = t
        while stop < len(above) and above[stop]:
            stop += 1
        if stop - t >= shortest:
            found.append((t, stop - 1))
        t = stop + 1
    return found


def test_a_score_that_equals_the_threshold_is_in() -> None:
    assert spans(intervals(CURVE, 0.5)) == [(0, 0, 0), (2, 4, 3), (8, 8, 8)]
    assert spans(intervals(CURVE, 0.95)) == []
    assert spans(intervals(CURVE, 0)) == [(0, 9, 0)]


@pytest.mark.parametrize("seed", range(6))
def test_gaps_are_closed_before_short_ones_are_left_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.random(rng.integers(1, 60)).astype(np.float32)
    for threshold in (0.3, 0.8, float(scores[0])):
        for shortest in (1, 2, 5):
            for gap in (0, 1, 3):
                found = intervals(scores, threshold, min_snippets=shortest, merge_gaps=gap)
                pairs = [(entry.first_snippet, entry.last_snippet) for entry in found]
                assert pairs == by_hand(scores, threshold, shortest, gap)
                for entry in found:
                    inside = scores[entry.first_snippet : entry.last_snippet + 1]
                    assert entry.score == inside.max()
                    assert entry.peak_snippet == entry.first_snippet + inside.argmax()


def test_frames_and_times_are_those_of_the_snippets() -> None:
    _, middle, last = intervals(CURVE, 0.5, fps=25, num_frames=157)
    assert (middle.first_frame, middle.last_frame) == (32, 79)
    assert (middle.start, middle.end, middle.peak) == (1.28, 3.2, 1.92)
    assert last.last_frame == 143
    (whole,) = intervals(CURVE, 0.0, fps=25, num_frames=157)
    assert (whole.last_frame, whole.end) == (156, 6.28)  # the video's end, not the snippet's


def test_snippets_that_share_the_frames_evenly() -> None:
    (found,) = intervals([0, 1, 0], 0.5, frames_per_snippet=None, num_frames=10, fps=10)
    assert (found.first_frame, found.last_frame) == (4, 6)
    (unknown,) = intervals([0, 1, 0], 0.5, frames_per_snippet=None, fps=10)
    assert (unknown.first_frame, unknown.start) == (None, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": float("nan")}, "threshold must be a finite number"),
        ({"min_snippets": 0}, "min_snippets"),
        ({"merge_gaps": -1}, "merge_gaps"),
        ({"fps": 0}, "fps must be greater than 0"),
        ({"num_frames": 5}, "doesn't fit num_frames=5"),
        ({"scores": [0.1, float("nan")]}, "scores must be finite"),
        ({"scores": []}, "scores must be a vector"),
    ],
)
def test_a_bad_argument_is_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        intervals(**{"scores": CURVE, **options})


def test_csv_and_json_hold_the_same() -> None:
    name = 'a,"b"\n=c'
    found = {
        name: intervals(CURVE, 0.5, fps=25),
        "unknown": intervals([1], frames_per_snippet=None),
    }
    rows = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert [row["video"] for row in rows] == [name] * 3 + ["unknown"]
    assert (rows[1]["start"], rows[1]["end"], rows[1]["peak_seconds"]) == (
        "0:00:01.280", "0:00:03.200", "1.920",
    )  # fmt: skip
    assert (rows[3]["start"], rows[3]["first_frame"], rows[3]["first_snippet"]) == ("", "", "0")
    read = json.loads(as_json(found, {"threshold": 0.5}))
    assert read["rule"] == {"threshold": 0.5}
    assert [video["video"] for video in read["videos"]] == [name, "unknown"]
    assert read["videos"][0]["intervals"][1]["start"] == 1.28


def test_subtitles() -> None:
    assert as_srt(intervals(CURVE, 0.8, fps=25)) == (
        "1\n00:00:00,000 --> 00:00:00,640\nanomaly: score 0.90 at 0:00:00\n"
    )
    assert as_srt([]) == ""
    with pytest.raises(ValueError, match="fps must be known, since subtitles"):
        as_srt(intervals(CURVE, 0.8))


@pytest.mark.parametrize(
    ("seconds", "options", "text"),
    [
        (0, {}, "0:00:00"),
        (45.44, {}, "0:00:45"),
        (59.999, {}, "0:00:59"),
        (71 * 1001 / 30000 * 30000 / 1001, {}, "0:01:11"),
        (3599.9996, {"decimals": 3}, "1:00:00.000"),
        (360_000, {}, "100:00:00"),
        (61.5, {"decimals": 1}, "0:01:01.5"),
        (1.5, {"decimals": 3, "mark": ",", "hours": 2}, "00:00:01,500"),
    ],
)
def test_a_time_is_written_as_players_show_it(seconds: float, options: dict, text: str) -> None:
    assert clock(seconds, **options) == text


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_no_time_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds must be a finite number of at least 0"):
        clock(seconds)


@pytest.mark.parametrize("seconds", [0.05, 0.9, 8, 61, 3599, 7200, 86_400, 1e6, 1e8])
def test_ticks_are_round_and_few(seconds: float) -> None:
    ticks = time_ticks(seconds)
    assert ticks[0] == 0
    assert len(ticks) <= 9
    assert ticks[-1] <= seconds
    assert seconds < 0.1 or len(ticks) >= 3


def test_the_last_snippet_ends_with_the_video() -> None:
    assert snippet_borders(3, 16, 40).tolist() == [0, 16, 32, 40]
    assert snippet_borders(3, 16, 55).tolist() == [0, 16, 32, 55]
    assert snippet_borders(3, 16, None).tolist() == [0, 16, 32, 48]
    assert snippet_borders(2, None, 5).tolist() == [0, 2.5, 5]
    assert snippet_borders(2, None, None).tolist() == [0, 1, 2]
