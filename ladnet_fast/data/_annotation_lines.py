"""Reading one line of temporal annotations, or of frame counts, and where the name in it ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .video import DataError

_SUFFIXES = "npy|txt|h5|hdf5|mp4|avi|mkv|mov|webm|wmv|mpe?g|m4v|flv"
_SUFFIX = re.compile(rf"\.(?:{_SUFFIXES})$", re.IGNORECASE)
# A name may hold blanks where its end can be seen: a suffix, UCF-Crime's or XD-Violence's ending.
_NAME_END = re.compile(rf"(?:\.(?:{_SUFFIXES})|_x264|_label_[A-G0-9-]+)(?=\s|$)", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+")
_BLANKS = "a name that holds blanks needs its suffix, as in 'my cam 1.mp4 100 200'"


class Interval(NamedTuple):
    """Anomalous frames as the annotation writes them; `Boundaries` says what they mean."""

    start: int
    end: int
    class_name: str | None


class Line(NamedTuple):
    """Content of a line: the video's name, its number of frames if given, and its intervals."""

    name: str
    num_frames: int | None
    intervals: tuple[Interval, ...]


def base_name(name: str) -> str:
    """Return a video's name without folder and suffix: what annotations are matched by."""
    return _SUFFIX.sub("", re.split(r"[\\/]", name)[-1])


def parse_annotation(text: str, where: str) -> Line:
    """Read ``name [frames] [class] start end ...``; a DataError says what is unclear."""
    name, fields, certain = _split_name(text)
    words = next((i for i, field in enumerate(fields) if _NUMBER.fullmatch(field)), len(fields))
    if words > 1:
        raise DataError(
            f"{where}: can't tell where the name ends in {text[:80]!r}: {_BLANKS}, and a class is "
            "one word"
        )
    num_frames = None
    if len(fields) > 1 and _NUMBER.fullmatch(fields[0]) and not _NUMBER.fullmatch(fields[1]):
        num_frames = int(fields[0])
        fields = fields[1:]
        if num_frames < 1:
            raise DataError(f"{where}: the number of frames must be at least 1; got {num_frames}")
    intervals = tuple(_parse_intervals(fields, where, "" if certain else f"; {_BLANKS}"))
    for interval in intervals:
        if num_frames is not None and interval.end > num_frames:
            raise DataError(
                f"{where}: interval {interval.start} {interval.end} ends after the {num_frames} "
                "frames that the line states before the class"
            )
    return Line(_checked_name(name, where), num_frames, intervals)


def parse_num_frames(text: str, where: str) -> Line:
    """Read ``name frames``, or an annotation that gives the number of frames before the class."""
    name, fields, certain = _split_name(text)
    if not certain:
        # Without a marked end the name reaches to the last field, unless more numbers precede it.
        *words, last = text.split()
        if words and not _NUMBER.fullmatch(words[-1]):
            name, fields = text[: -len(last)].strip(), [last]
        elif len(words) == 1:
            name, fields = words[0], [last]
    if len(fields) == 1 and re.fullmatch(r"\d+", fields[0]) and int(fields[0]) > 0:
        return Line(_checked_name(name, where), int(fields[0]), ())
    line = parse_annotation(text, where) if len(fields) > 1 else None
    if line is None or line.num_frames is None:
        raise DataError(
            f"{where}: {text[:80]!r} gives no number of frames; lines are 'name frames', or "
            f"annotations 'name frames class start end ...'{'' if certain else f'; {_BLANKS}'}"
        )
    return line


def _split_name(text: str) -> tuple[str, list[str], bool]:
    """Return the name, the fields after it, and whether the name's end is marked."""
    match = _NAME_END.search(text)
    if match is not None:
        return text[: match.end()], text[match.end() :].split(), True
    name, *fields = text.split()
    return name, fields, False


def _checked_name(name: str, where: str) -> str:
    base = base_name(name)
    if not base:
        raise DataError(f"{where}: the name of a video must not be empty; got {name!r}")
    return base


def _parse_intervals(fields: list[str], where: str, hint: str) -> Iterator[Interval]:
    class_name: str | None = None
    numbers: list[int] = []
    if len(fields) % 2 and all(_NUMBER.fullmatch(field) for field in fields):
        numbers, fields = [int(fields[-1])], []
    for field in fields:
        if _NUMBER.fullmatch(field):
            numbers.append(int(field))
        elif numbers:
            break  # an interval is half read: reported below
        elif field[0].isalpha():
            class_name = field
        else:
            raise DataError(f"{where}: {field!r} is neither a frame's number nor a class{hint}")
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
        raise DataError(
            f"{where}: frame {numbers[0]} has no partner; intervals are 'start end', and a number "
            f"of frames stands before the class{hint}"
        )
