"""All checks of a data set, one after the other."""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ..annotations import Boundaries
from ..ground_truth import LengthRule
from ..video import Video, require_videos
from .files import check_shapes, check_video
from .findings import Report
from .reading import Reading, read_video
from .sets import check_duplicates, check_labels, check_overlap
from .truth import Source, check_truth

Progress = Callable[[str, int, int | None], None]


def check_videos(
    videos: Sequence[Video],
    *,
    test_videos: Sequence[Video] = (),
    source: str | os.PathLike[str] | None = None,
    boundaries: Boundaries | None = None,
    length_rule: LengthRule = "auto",
    kernel_size: int = 7,
    feature_dim: int | None = None,
    query_dim: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Read every file of a data set once and list every problem.

    Memory holds some rows of one video at a time; what is kept of a video is small.

    Parameters
    ----------
    videos : sequence of Video
        As `read_list` or `read_manifest` give them with ``check_files=False``.
    test_videos : sequence of Video
        Of another list; they are checked too, also for videos that are in both.
    source, boundaries, length_rule
        Ground truth of ``test_videos`` if there are some, else of ``videos``; see
        `load_ground_truth`. Without ``source``, the videos' own files, where they have one.
    kernel_size : int
        Of the model's score head; videos shorter than it are named.
    feature_dim, query_dim : int, optional
        Widths that a model takes. Default: what most videos have.
    progress : callable, optional
        Called with ``(name, done, total)`` before each video.

    Returns
    -------
    Report
        Findings and counts; a problem of a data file is a finding, never an exception.
    """
    require_videos(videos)
    report = Report()
    everything = [*videos, *test_videos]
    readings: list[Reading] = []
    for done, video in enumerate(everything):
        if progress is not None:
            progress(video.name, done, len(everything))
        readings.append(read_video(video))
        check_video(report, readings[-1])
    training, test = readings[: len(videos)], readings[len(videos) :]
    check_shapes(
        report,
        readings,
        kernel_size=kernel_size,
        feature_dim=feature_dim,
        query_dim=query_dim,
    )
    check_labels(report, videos, truth_is_given=source is not None and not test)
    if test:
        given = source is not None
        check_labels(report, test_videos, truth_is_given=given, what="the test list")
        check_duplicates(report, test)
        check_overlap(report, training, test)
    check_duplicates(report, training)
    truth = Source(source, boundaries, length_rule)
    check_truth(report, readings if source is None else test or training, truth)
    report.counts = _counts(readings, len(test))
    report.sort()
    return report


def _counts(readings: Sequence[Reading], test: int) -> dict[str, Any]:
    labels = Counter(reading.video.label for reading in readings)
    lengths = [reading.snippets for reading in readings if reading.snippets is not None]
    counts: dict[str, Any] = {"videos": len(readings)}
    if test:
        counts["test videos among them"] = test
    counts |= {
        "anomalous": labels[1],
        "normal": labels[0],
        "label not known": labels[None],
        "videos read whole": len(lengths),
        "snippets": sum(lengths),
    }
    if lengths:
        counts["snippets of a video, least"] = min(lengths)
        counts["snippets of a video, median"] = statistics.median_low(lengths)
        counts["snippets of a video, most"] = max(lengths)
    matrices = [matrix for reading in readings for matrix in reading.crops]
    counts["crops"] = len(matrices)
    widths = sorted({matrix.width for matrix in matrices})
    counts["width"] = widths[0] if len(widths) == 1 else widths
    return counts
