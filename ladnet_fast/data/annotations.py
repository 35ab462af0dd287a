"""Temporal annotations as text: those of UCF-Crime and XD-Violence, multi-class ones too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from .._choices import Boundaries
from .._values import count, shown
from .._values import path as checked_path
from .._wording import name_of
from ._annotation_lines import (
    Interval,
    Line,
    parse_annotation,
    parse_num_frames,
)
from ._text import read_lines
from .video import DataError


def read_annotations(path: str | os.PathLike[str]) -> dict[str, tuple[Interval, ...]]:
    """Read a file of temporal annotations.

    One video per line, fields separated by blanks::

        Abuse028_x264.mp4  Abuse  165  240  -1  -1        UCF-Crime
        Arson/Arson022_x264.mp4 8640 Arson 3500 4000      the same, with folder and frame count
        NAME_label_B2-0-0 160 211 300 350                 XD-Violence
        NAME_label_B1-B2-0 B1 160 211 B2 300 350          XD-Violence, multi-class

    A class belongs to the pairs that follow it; a pair ``-1 -1`` is no interval. A name may hold
    blanks if it ends in a suffix such as ``.mp4``, in ``_x264`` or in XD-Violence's ``_label_...``.

    Returns
    -------
    dict of str to tuple of Interval
        Intervals of every video of the file by its name without folder and suffix, none for normal
        ones.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    DataError
        If a line can't be read or its name's end can't be told, or a video occurs twice; the
        message gives the line.
    """
    return {name: line.intervals for name, line in annotation_lines(path).items()}


def annotation_lines(path: str | os.PathLike[str]) -> dict[str, Line]:
    """Read what `read_annotations` reads, with the numbers of frames that lines state."""
    return _read(checked_path("path", path), "annotation file", parse_annotation)


def read_num_frames(path: str | os.PathLike[str]) -> dict[str, int]:
    """Read the numbers of frames of videos.

    One video per line, ``name frames``, or temporal annotations that state the number before the
    class; see `read_annotations` for names, and for what is raised.

    Returns
    -------
    dict of str to int
        By the video's name without folder and suffix.
    """
    lines = _read(checked_path("path", path), "file of frame numbers", parse_num_frames)
    return {name: line.num_frames for name, line in lines.items() if line.num_frames is not None}


def _read(path: Path, what: str, parse: Callable[[str, str], Line]) -> dict[str, Line]:
    found: dict[str, Line] = {}
    number_of: dict[str, int] = {}
    for number, text in read_lines(path, what=what):
        line = parse(text, f"{path}, line {number}")
        if line.name in found:
            raise DataError(
                f"{path}, line {number}: a second line for video {line.name!r} after line "
                f"{number_of[line.name]}; names count without folder and suffix: remove one of the "
                "lines, or rename a video"
            )
        found[line.name], number_of[line.name] = line, number
    return found


def intervals_to_frames(
    intervals: Iterable[Interval],
    num_frames: int,
    *,
    boundaries: Boundaries,
    slack: int = 0,
    class_name: str | None = None,
) -> NDArray[np.uint8]:
    """Turn intervals into one 0 or 1 for each frame.

    Parameters
    ----------
    intervals : iterable of Interval
        As in the annotation file.
    num_frames : int
        Length of the result.
    boundaries : "[s,e)", "[s,e]" or "[s-1,e)"
        Which frames, counted from 0, an annotated pair ``s e`` stands for. Projects differ, and
        results with them, so there is no default. The last one reads frames as counted from 1,
        both ends included; ``s = 0`` is then taken as 1.
    slack : int
        How far an interval may reach beyond ``num_frames``; that part is cut off. Features that
        cover only whole snippets are shorter than their video.
    class_name : str, optional
        Use the intervals of this class only.

    Returns
    -------
    ndarray, (num_frames,), uint8

    Raises
    ------
    ValueError
        If ``boundaries`` is unknown, or an interval ends after ``num_frames + slack``; also if
        another argument is not allowed.
    """
    check_boundaries(boundaries)
    num_frames = count("num_frames", num_frames, least=0)
    slack = count("slack", slack, least=0)
    if class_name is not None and not isinstance(class_name, str):
        raise ValueError(f"class_name must be text, or None; got {shown(class_name)}")
    frames = np.zeros(num_frames, dtype=np.uint8)
    for interval in _checked_intervals(intervals):
        if class_name is not None and interval.class_name != class_name:
            continue
        first = max(interval.start - (boundaries == "[s-1,e)"), 0)
        stop = end_of(interval, boundaries)
        if stop > num_frames + slack:
            raise ValueError(
                f"interval {interval.start} {interval.end} ends at frame {stop}, but there are "
                f"{num_frames} frames"
            )
        frames[first:stop] = 1
    return frames


def _checked_intervals(intervals: Iterable[Interval]) -> list[Interval]:
    try:
        given = list(intervals)
    except TypeError:
        raise ValueError(f"intervals must be a list of Interval; got {shown(intervals)}") from None
    for interval in given:
        if not isinstance(interval, Interval):
            raise ValueError(f"intervals must hold nothing but Interval; got {shown(interval)}")
        for field in ("start", "end"):
            count(f"{field} of intervals", getattr(interval, field), least=0)
    return given


def end_of(interval: Interval, boundaries: Boundaries) -> int:
    """Return the first frame, counted from 0, after an interval."""
    return interval.end + (boundaries == "[s,e]")


def check_boundaries(boundaries: object) -> None:
    """Raise ValueError that lists the allowed conventions if ``boundaries`` is none of them."""
    if not isinstance(boundaries, str) or boundaries not in get_args(Boundaries):
        raise ValueError(
            f"{name_of('boundaries')} must be one of {', '.join(get_args(Boundaries))}: which "
            f"frames the annotation's 'start end' stands for; got {shown(boundaries)}"
        )
