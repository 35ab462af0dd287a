"""Stretches of a video whose scores reach a threshold, and the files that hold them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._printable import printable
from .._runs import runs_of
from .._times import clock, snippet_borders
from .._values import count
from ..metrics import frame_scores
from ..metrics.frames import finite_vector

COLUMNS = (
    *("video", "start", "end", "peak", "score", "start_seconds", "end_seconds", "peak_seconds"),
    *("first_snippet", "last_snippet", "peak_snippet", "first_frame", "last_frame"),
)
FORMAT = "ladnet_fast.intervals.1"


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of snippets; all counted from 0, the last one included.

    Attributes
    ----------
    first_snippet, last_snippet : int
        The stretch.
    peak_snippet : int
        Its highest score's snippet, the first of several.
    score : float
        The score there.
    first_frame, last_frame : int or None
        The stretch in frames; None where the video's frames are not known.
    start, end, peak : float or None
        Seconds at which the first snippet begins, the last one ends, and the peak's snippet begins;
        None where the frame rate is not known.
    """

    first_snippet: int
    last_snippet: int
    peak_snippet: int
    score: float
    first_frame: int | None = None
    last_frame: int | None = None
    start: float | None = None
    end: float | None = None
    peak: float | None = None


def intervals(
    scores: ArrayLike,
    threshold: float = 0.5,
    *,
    min_snippets: int = 1,
    merge_gaps: int = 0,
    frames_per_snippet: int | None = 16,
    num_frames: int | None = None,
    fps: float | None = None,
) -> list[Interval]:
    """Find the stretches of a video whose scores reach a threshold.

    The rule: snippets with ``score >= threshold``, as long as they follow one another, are one
    interval. Then gaps of at most ``merge_gaps`` snippets between two intervals are closed, and
    then intervals of fewer than ``min_snippets`` snippets are left out.

    Parameters
    ----------
    scores : array_like, (T,)
        One score per snippet, in the order of time.
    threshold : float
        Finite.
    min_snippets : int
        At least 1.
    merge_gaps : int
        At least 0.
    frames_per_snippet : int or None
        Frames of a snippet; None: the snippets share ``num_frames`` evenly.
    num_frames : int or None
        Length of the video, where known; the last snippet's interval ends there.
    fps : float or None
        Frames per second, for times.

    Returns
    -------
    list of Interval
        In the order of time.

    Raises
    ------
    ValueError
        If ``scores`` is no vector of finite numbers, an argument is out of range, or lengths don't
        fit one another.
    """
    curve = finite_vector("scores", scores)
    if not math.isfinite(threshold):
        raise ValueError(f"threshold must be a finite number; got {threshold}")
    min_snippets = count("min_snippets", min_snippets)
    merge_gaps = count("merge_gaps", merge_gaps, least=0)
    require_rate(fps)
    known = frames_per_snippet is not None or num_frames is not None
    if known:  # checks that lengths fit
        frame_scores(curve, frames_per_snippet, num_frames)
    borders = snippet_borders(len(curve), frames_per_snippet, num_frames)
    found = []
    for first, stop in _stretches(curve >= threshold, min_snippets, merge_gaps):
        peak = first + int(curve[first:stop].argmax())
        frames = (math.ceil(borders[first]), math.ceil(borders[stop]) - 1) if known else (None,) * 2
        times: tuple[float | None, ...] = (None,) * 3
        if fps is not None and known:
            times = tuple(float(borders[at]) / fps for at in (first, stop, peak))
        found.append(Interval(first, stop - 1, peak, float(curve[peak]), *frames, *times))
    return found


def require_rate(fps: float | None) -> None:
    """Refuse a frame rate that is not positive and finite; None is not known."""
    if fps is not None and not 0 < fps < math.inf:
        raise ValueError(f"fps must be greater than 0 and finite; got {fps}")


def _stretches(above: np.ndarray, shortest: int, gap: int) -> list[tuple[int, int]]:
    """Return [first, stop) of every run of True, joined over gaps, without short ones."""
    joined: list[tuple[int, int]] = []
    for first, stop in runs_of(above):
        if joined and first - joined[-1][1] <= gap:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((first, stop))
    return [(first, stop) for first, stop in joined if stop - first >= shortest]


def as_csv(found: Mapping[str, Sequence[Interval]]) -> str:
    """Return the intervals of videos, by name, as a table; unknown cells are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, of_video in found.items():
        for entry in of_video:
            times = (entry.start, entry.end, entry.peak)
            row: list[object] = [
                name,
                *map(_clock, times),
                f"{entry.score:.6g}",
                *map(_seconds, times),
            ]
            row += [entry.first_snippet, entry.last_snippet, entry.peak_snippet]
            row += [_known(entry.first_frame), _known(entry.last_frame)]
            writer.writerow(row)
    return text.getvalue()


def as_json(found: Mapping[str, Sequence[Interval]], rule: Mapping[str, Any]) -> str:
    """Return the intervals of videos, by name, with the rule that found them, as JSON."""
    content = {
        "format": FORMAT,
        "rule": dict(rule),
        "videos": [
            {"video": name, "intervals": [asdict(entry) for entry in of_video]}
            for name, of_video in found.items()
        ],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def as_srt(found: Iterable[Interval]) -> str:
    """Return the intervals of one video as subtitles (SubRip), for players.

    Raises
    ------
    ValueError
        If times are not known.
    """
    blocks = []
    for number, entry in enumerate(found, start=1):
        if entry.start is None or entry.end is None or entry.peak is None:
            raise ValueError(
                "fps must be known, since subtitles have times; got intervals without times"
            )
        begin, end = (
            clock(time, decimals=3, mark=",", hours=2) for time in (entry.start, entry.end)
        )
        text = f"anomaly: score {entry.score:.2f} at {clock(entry.peak)}"
        blocks.append(f"{number}\n{begin} --> {end}\n{printable(text)}\n")
    return "\n".join(blocks)


def _clock(seconds: float | None) -> str:
    return "" if seconds is None else clock(seconds, decimals=3)


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.3f}"


def _known(value: int | None) -> str:
    return "" if value is None else str(value)
