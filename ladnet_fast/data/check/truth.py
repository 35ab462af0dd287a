"""Whether frame-level truth fits the videos, each of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..._wording import give
from ..annotations import Boundaries, read_annotations
from ..ground_truth import LengthRule, load_ground_truth
from ..video import DataError, Video
from .findings import Report, some
from .reading import Reading

_Known = tuple[Video, int]  # with its snippets


@dataclass(frozen=True, slots=True)
class Source:
    """Where truth comes from; the fields are those of `load_ground_truth`."""

    path: str | os.PathLike[str] | None = None
    boundaries: Boundaries | None = None
    length_rule: LengthRule = "auto"

    @property
    def is_vector(self) -> bool:
        """Whether it is one vector for all videos, of which no part can be read alone."""
        return self.path is not None and self.boundaries is None

    def load(self, known: Sequence[_Known]) -> list[NDArray[np.uint8]]:
        """Return the videos' truth; labels are not compared."""
        return load_ground_truth(
            [video for video, _ in known],
            [snippets for _, snippets in known],
            source=self.path,
            boundaries=self.boundaries,
            length_rule=self.length_rule,
            check_labels=False,
        )

    def problem(self) -> str | None:
        """Say what is wrong with the file itself, once for all videos."""
        if self.path is None:
            return None
        path = Path(self.path)
        try:
            if self.boundaries is not None:
                read_annotations(path)
            elif not path.is_file():
                raise FileNotFoundError(f"ground truth {path} does not exist or is not a file")
        except (DataError, OSError) as error:
            return str(error)
        return None


def check_truth(report: Report, readings: Sequence[Reading], source: Source) -> None:
    """Compare lengths and labels of all videos with ground truth.

    Without a path, with the videos' own files, of those that have one.
    """
    wanted = [r for r in readings if source.path is not None or r.video.frame_labels is not None]
    if not wanted:
        return
    problem = source.problem()
    if problem is not None:
        report.add("error", "truth", (), problem)
        return
    names = [r.video.name for r in wanted if r.snippets is None]
    if names and source.is_vector:
        report.add(
            "error", "truth", names,
            f"{source.path} can't be compared with the list: the lengths of {len(names)} videos "
            f"are not known, since their features can't be read: {some(names)}",
        )  # fmt: skip
        return
    known = [(r.video, r.snippets) for r in wanted if r.snippets is not None]
    for video, frames in _load(report, known, source):
        _check_label(report, video, frames, source.path or video.frame_labels)


def _load(
    report: Report, known: Sequence[_Known], source: Source
) -> list[tuple[Video, NDArray[np.uint8]]]:
    """Return what fits; where some videos don't, halve until each of those stands alone."""
    if not known:
        return []
    try:
        truth = source.load(known)
    except (ValueError, OSError) as error:  # DataError, or a rule that lacks num_frames
        if len(known) > 1 and not source.is_vector:
            half = len(known) // 2
            return [
                *_load(report, known[:half], source),
                *_load(report, known[half:], source),
            ]
        names = [video.name for video, _ in known] if len(known) == 1 else []
        report.add("error", "truth", names, str(error))
        return []
    return [(video, frames) for (video, _), frames in zip(known, truth, strict=True)]


def _check_label(
    report: Report,
    video: Video,
    frames: NDArray[np.uint8],
    path: str | os.PathLike[str] | None,
) -> None:
    count = int(frames.sum())
    if video.label is None or bool(count) == bool(video.label):
        return
    report.add(
        "error", "truth-label", video.name,
        f"{video.name}: its label is {'anomalous' if video.label else 'normal'}, but {count} of "
        f"its {len(frames)} frames are anomalous in {path}; is the list in the order of the ground "
        f"truth? ({give('check_labels', False)} lets evaluation pass)",
    )  # fmt: skip
