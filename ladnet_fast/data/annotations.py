"""Temporal annotations as text: UCF-Crime's and XD-Violence's, also the multi-class one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ladnet_fast.data._text import read_lines, strip_suffix
from ladnet_fast.data.video import DataError

Boundaries = Literal["[s,e)", "[s,e]", "[s-1,e)"]


class Interval(NamedTuple):
    """Anomalous frames as the annotation writes them; `Boundaries` says what they mean."""

    start: int
    end: int
    class_name: str | None


def read_annotations(path: str | os.PathLike[str]) -> dict[str, tuple[Interval, ...]]:
    """Read a file of temporal annotations.

    One video a line, fields separated by blanks::

        Abuse028_x264.mp4  Abuse  165  240  -1  -1        UCF-Crime
        NAME_label_B2-0-0 160 211 300 350                 XD-Violence
        NAME_label_B1-B2-0 B1 160 211 B2 300 350          XD-Violence, multi-class

    A class belongs to the pairs that follow it; a pair ``-1 -1`` is no interval; names may end in
    ``.mp4``.

    Returns
    -------
    dict of str to tuple of Interval
        Intervals of every video of the file, none for normal ones.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    DataError
        If a line can't be read, or a video occurs twice; the message gives the line.
    """
    path = Path(path)
    annotations: dict[str, tuple[Interval, ...]] = {}
    for number, text in read_lines(path, what="annotation file"):
        where = f"{path}, line {number}"
        name, *fields = text.split()
        name = strip_suffix(name)
        if name in annotations:
            raise DataError(f"{where}: a second line for video {name!r}; remove one of them")
        annotations[name] = tuple(_parse_intervals(fields, where))
    return annotations


def _parse_intervals(fields: list[str], where: str) -> Iterable[Interval]:
    class_name: str | None = None
    numbers: list[int] = []
    for field in fields:
        if re.fullmatch(r"-?\d+", field):
            numbers.append(int(field))
        elif numbers:
            break  # an interval is half read: reported below
        elif field[0].isalpha():
            class_name = field
        else:
            raise DataError(f"{where}: {field!r} is neither a frame's number nor a class")
        if len(numbers) == 2:
            start, end = numbers
            numbers = []
            if (start, end) == (-1, -1):
                continue
            if start < 0 or end < start:
                raise DataError(
                    f"{where}: {start} {end} is not an interval 'start end' with "
                    "0 <= start <= end, nor -1 -1 for none"
                )
            yield Interval(start, end, class_name)
    if numbers:
        raise DataError(f"{where}: frame {numbers[0]} has no partner; intervals are 'start end'")


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
        If ``boundaries`` is unknown, or an interval ends after ``num_frames + slack``.
    """
    check_boundaries(boundaries)
    frames = np.zeros(num_frames, dtype=np.uint8)
    for interval in intervals:
        if class_name is not None and interval.class_name != class_name:
            continue
        first = max(interval.start - (boundaries == "[s-1,e)"), 0)
        stop = interval.end + (boundaries == "[s,e]")
        if stop > num_frames + slack:
            raise ValueError(
                f"interval {interval.start} {interval.end} ends at frame {stop}, but there are "
                f"{num_frames} frames"
            )
        frames[first:stop] = 1
    return frames


def check_boundaries(boundaries: object) -> None:
    """Raise ValueError that lists the allowed conventions if ``boundaries`` is none of them."""
    if boundaries not in get_args(Boundaries):
        raise ValueError(
            f"boundaries must be one of {', '.join(get_args(Boundaries))}: which frames the "
            f"annotation's 'start end' stands for; got {boundaries!r}"
        )
