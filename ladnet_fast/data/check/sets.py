"""Problems of a set of videos as a whole: labels, splits, folds, videos that occur twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

from ..video import Video, label_remedies
from .findings import Report, some
from .reading import Reading

_NAMES = {0: "normal", 1: "anomalous"}


def check_labels(
    report: Report, videos: Sequence[Video], *, truth_is_given: bool, what: str = "the list"
) -> None:
    """Look for unknown labels, and for parts of the set with one class only.

    Where ground truth is given, it gives the labels too: neither is an error then.
    """
    unknown = [video.name for video in videos if video.label is None]
    if unknown:
        report.add(
            "warning" if truth_is_given else "error", "unknown-label", unknown,
            f"{what}: labels are not known for {len(unknown)} of {len(videos)} videos: "
            f"{some(unknown)}. "
            f"Training needs labels: {label_remedies()}",
        )  # fmt: skip
    _check_classes(report, what, videos, "warning" if truth_is_given else "error")
    for name, part in _parts(videos, [video.split for video in videos]).items():
        _check_classes(report, f"split {name!r}", part, "warning")
    folds = [video.fold for video in videos]
    for name, part in _parts(videos, folds).items():
        _check_classes(report, f"fold {name}", part, "warning")
        rest = [video for video in videos if video.fold is not None and video.fold != name]
        _check_classes(report, f"the training videos of fold {name}", rest, "error")
    without = [video.name for video in videos if video.fold is None]
    if without and len(without) < len(videos):
        report.add(
            "error", "fold", without,
            f"some videos have a fold, but not {some(without)}; fill the column fold for all or "
            "for none",
        )  # fmt: skip


def _parts(videos: Sequence[Video], keys: Sequence[Hashable]) -> dict[Hashable, list[Video]]:
    parts: dict[Hashable, list[Video]] = defaultdict(list)
    for video, key in zip(videos, keys, strict=True):
        if key is not None:
            parts[key].append(video)
    return dict(parts) if len(parts) > 1 else {}


def _check_classes(report: Report, what: str, videos: Sequence[Video], severity: str) -> None:
    labels = {video.label for video in videos} - {None}
    if len(labels) != 1:
        return
    (label,) = labels
    assert label is not None
    report.add(
        "error" if severity == "error" else "warning", "one-class", (),
        f"{what} has {_NAMES[label]} videos only ({len(videos)}); training and figures need both "
        "classes: are the labels right?",
    )  # fmt: skip


def check_duplicates(report: Report, readings: Sequence[Reading]) -> None:
    """Look for videos of the same content under two names."""
    for first, second in _pairs(readings, readings):
        a, b = first.video, second.video
        labels = {a.label, b.label} - {None}
        splits = (a.split, b.split)
        text = f"{a.name!r} and {b.name!r} hold the same features"
        if None not in splits and splits[0] != splits[1]:
            report.add(
                "error", "overlap", (a.name, b.name),
                f"{text}, and are in splits {splits[0]!r} and {splits[1]!r}: what is tested was "
                "trained on; remove one of them",
            )  # fmt: skip
        elif len(labels) > 1:
            report.add(
                "error", "duplicate", (a.name, b.name),
                f"{text}, but their labels differ ({a.label} and {b.label}); remove the wrong one",
            )  # fmt: skip
        else:
            report.add(
                "warning", "duplicate", (a.name, b.name),
                f"{text}: a copy, or an extraction that wrote one video's features twice? "
                "Remove one of them or extract both again",
            )  # fmt: skip


def check_overlap(report: Report, training: Sequence[Reading], test: Sequence[Reading]) -> None:
    """Look for test videos that are in training too, by name and by content."""
    names = {reading.video.name for reading in training}
    shared = [reading.video.name for reading in test if reading.video.name in names]
    if shared:
        report.add(
            "error", "overlap", shared,
            f"in both lists by name: {some(shared)}; figures on videos that were trained on mean "
            "nothing, remove them from one list",
        )  # fmt: skip
    for first, second in _pairs(training, test):
        a, b = first.video.name, second.video.name
        if a != b:
            report.add(
                "error", "overlap", (a, b),
                f"{a!r} of the training list and {b!r} of the test list hold the same features; "
                "remove one of them",
            )  # fmt: skip


def _pairs(known: Sequence[Reading], readings: Sequence[Reading]) -> list[tuple[Reading, Reading]]:
    """Pair each of ``readings`` with the first of ``known`` that shares a crop, if another."""
    first: dict[str, Reading] = {}
    for reading in known:
        for matrix in reading.crops:
            first.setdefault(matrix.digest, reading)
    pairs = []
    for reading in readings:
        others = (first.get(matrix.digest) for matrix in reading.crops)
        other = next((o for o in others if o is not None and o is not reading), None)
        if other is not None:
            pairs.append((other, reading))
    return pairs
