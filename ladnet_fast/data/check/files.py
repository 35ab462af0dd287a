"""Problems in the files of one video, and in them compared with the other videos' files."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence

from .findings import Report, some
from .reading import Matrix, Reading

#: More snippets than this (about 18 hours) suggest a wrong shape, or a file of many videos.
LONG = 100_000
_SCALE = 10.0


def check_video(report: Report, reading: Reading) -> None:
    """Look at one video's files."""
    name = reading.video.name
    for kind, text in reading.problems:
        report.add("error", kind, name, f"{name}: {text}")
    matrices = [*reading.crops, *([] if reading.query is None else [reading.query])]
    for matrix in matrices:
        _check_rows(report, name, matrix)
    lengths = sorted({matrix.snippets for matrix in reading.crops})
    widths = sorted({matrix.width for matrix in reading.crops})
    if len(lengths) > 1 or len(widths) > 1:
        report.add(
            "error",
            "crops",
            name,
            f"{name}: its crops differ: {_spread(lengths, 'snippets')}, {_spread(widths, 'wide')}; "
            "all crops of a video come from one run of one extractor, extract them again",
        )
    query = reading.query
    if query is not None and reading.crops and abs(query.snippets - lengths[0]) > 1:
        report.add(
            "error",
            "query",
            name,
            f"{name}: {query.source} has {query.snippets} snippets, but the features "
            f"{lengths[0]}; they may differ by one: are they of one video, and of the same "
            "snippet length?",
        )
    same = [place for place, count in Counter(m.digest for m in reading.crops).items() if count > 1]
    if same:
        crops = [str(m.crop) for m in reading.crops if m.digest == same[0]]
        report.add(
            "warning",
            "same-crops",
            name,
            f"{name}: crops {', '.join(crops)} hold the same values; were they copied?",
        )


def _check_rows(report: Report, name: str, matrix: Matrix) -> None:
    where = f"{name}: {matrix.source}{f' (crop {matrix.crop})' if matrix.crop else ''}"
    if matrix.not_finite:
        report.add(
            "error",
            "not-finite",
            name,
            f"{where}: {matrix.not_finite} of {matrix.snippets} rows hold a NaN or infinity, the "
            f"first is row {matrix.first_not_finite}; extract the features again",
        )
    for kind, count, what in (
        ("zero-rows", matrix.zero, "zero"),
        ("constant-rows", matrix.constant, "one value throughout"),
    ):
        if count:
            every = count == matrix.snippets
            report.add(
                "error" if every else "warning",
                kind,
                name,
                f"{where}: {'all' if every else f'{count} of'} {matrix.snippets} rows are {what}; "
                f"{'extract the features again' if every else 'padding, or frames not decoded?'}",
            )


def check_shapes(
    report: Report,
    readings: Sequence[Reading],
    *,
    kernel_size: int,
    feature_dim: int | None,
    query_dim: int | None,
) -> None:
    """Compare widths, numbers of crops, lengths and scales of all videos."""
    for what, matrices, wanted in (
        ("features", [(r, r.crops[0]) for r in readings if r.crops], feature_dim),
        ("queries", [(r, r.query) for r in readings if r.query is not None], query_dim),
    ):
        _check_widths(report, what, matrices, wanted)
    with_query = [r.video.name for r in readings if r.video.query is not None]
    if with_query and len(with_query) < len(readings):
        without = [r.video.name for r in readings if r.video.query is None]
        report.add(
            "error", "query", without,
            f"some videos have a query, such as {with_query[0]!r}, and some have none: "
            f"{some(without)}; give one to all videos or to none",
        )  # fmt: skip
    counts = Counter(len(r.crops) for r in readings if r.crops and not r.problems)
    if len(counts) > 1:
        usual = counts.most_common(1)[0][0]
        odd = [r for r in readings if r.crops and not r.problems and len(r.crops) != usual]
        names = [r.video.name for r in odd]
        report.add(
            "warning", "crop-count", names,
            f"not every video has {usual} crop{'s' * (usual > 1)}, as most have: {some(names)} "
            f"{'differ' if len(odd) > 1 else 'differs'}; every crop is a training sample, so they "
            "weigh differently",
        )  # fmt: skip
    for reading in readings:
        _check_length(report, reading, kernel_size)
    _check_scales(report, readings)


def _check_widths(
    report: Report, what: str, matrices: Sequence[tuple[Reading, Matrix]], wanted: int | None
) -> None:
    widths = Counter(matrix.width for _, matrix in matrices)
    if not widths:
        return
    usual = widths.most_common(1)[0][0] if wanted is None else wanted
    who = f"{widths[usual]} others" if wanted is None else "the model takes"
    for width in sorted(set(widths) - {usual}):
        names = [reading.video.name for reading, matrix in matrices if matrix.width == width]
        report.add(
            "error", "width", names,
            f"{what} of {len(names)} video{'s are' if len(names) > 1 else ' is'} {width} wide, "
            f"{who} {usual}: {some(names)}; all must come from one extractor",
        )  # fmt: skip


def _check_length(report: Report, reading: Reading, kernel_size: int) -> None:
    length, name = reading.snippets, reading.video.name
    if length is None:
        return
    if length < kernel_size:
        report.add(
            "warning", "short", name,
            f"{name}: {length} snippet{'s' * (length > 1)}, fewer than the score head's kernel of "
            f"{kernel_size} sees: its scores depend on padding",
        )  # fmt: skip
    if length > LONG:
        report.add(
            "warning", "long", name,
            f"{name}: {length} snippets, about {length * 16 / 25 / 3600:.0f} hours at 16 frames a "
            "snippet and 25 frames per second; is that one video, and is the shape (T, D)?",
        )  # fmt: skip


def _check_scales(report: Report, readings: Sequence[Reading]) -> None:
    norms = {
        r.video.name: statistics.fmean(m.mean_norm for m in r.crops)
        for r in readings
        if r.crops and all(m.mean_norm > 0 for m in r.crops)  # false for NaN
    }
    if len(norms) < 2:
        return
    median = statistics.median(norms.values())
    for name, norm in norms.items():
        if not (math.isfinite(norm) and median / _SCALE <= norm <= median * _SCALE):
            ratio = norm / median
            far = f"{ratio:.0f} times" if ratio > 1 else f"1/{1 / ratio:.0f} of"
            report.add(
                "warning", "scale", name,
                f"{name}: a row's norm is {norm:.3g} on average, {far} the set's median "
                f"{median:.3g}; another extractor, or normalised otherwise?",
            )  # fmt: skip


def _spread(values: Sequence[int], unit: str) -> str:
    return f"{' and '.join(map(str, values))} {unit}"
