"""Frame-level ground truth from the files that the field uses, with lengths and labels checked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from .. import _values
from .._wording import give
from ._annotation_lines import Interval, Line, base_name
from ._truth_causes import (
    Counted,
    scores_per_frame,
    why_own_differs,
    why_vector_differs,
)
from .annotations import (
    Boundaries,
    annotation_lines,
    check_boundaries,
    end_of,
    intervals_to_frames,
)
from .lengths import LengthRule, ground_truth_length
from .missing import LeftOut
from .vectors import FrameLabels, kind_of_truth, read_frame_labels
from .video import DataError, Video, require_videos

__all__ = [
    "FrameLabels",
    "LengthRule",
    "ground_truth_length",
    "load_ground_truth",
    "read_frame_labels",
]


def load_ground_truth(
    videos: Sequence[Video],
    num_snippets: Sequence[int],
    *,
    source: str | os.PathLike[str] | None = None,
    boundaries: Boundaries | None = None,
    length_rule: LengthRule = "auto",
    check_labels: bool = True,
    left_out: Sequence[LeftOut] = (),
    counted: Counted = "features",
) -> list[FrameLabels]:
    """Load the ground truth of every video and check that it fits.

    Parameters
    ----------
    videos : sequence of Video
        With a concatenated vector, in its order.
    num_snippets : sequence of int
        T of each video's features, or the length of its scores.
    source : path-like, optional
        A vector, the videos' frames end to end: ``.npy``, or text of nothing but 0 and 1; or
        temporal annotations (see `read_annotations`). Default: each video's own ``frame_labels``
        file.
    boundaries : "[s,e)", "[s,e]" or "[s-1,e)"
        Required with annotations, and only then; see `intervals_to_frames`.
    length_rule : "auto", "num_frames", "snippets" or "flow"
        Number of frames that each video must have; see `ground_truth_length`.
    check_labels : bool
        Also refuse a normal video with anomalous frames and an anomalous one without any: the
        sign of a list in another order.
    left_out : sequence of LeftOut
        Videos of the list that are not among ``videos``, whose part of a concatenated vector is
        cut out; see `leave_out`. Their length must follow from ``num_frames``.
    counted : "features" or "scores"
        What ``num_snippets`` is the length of, for messages.

    Returns
    -------
    list of ndarray, (F_i,), uint8
        1 where a frame is anomalous. A normal video without ground truth is all 0.

    Raises
    ------
    FileNotFoundError
        If a file does not exist.
    DataError
        If a length does not fit, labels are contradicted, or neither a label nor ground truth is
        known of a video; the message names the video, both lengths and the likely cause.
    ValueError
        If an argument is not allowed.
    """
    require_videos(videos)
    _values.sequence("num_snippets", num_snippets, "integers, one for each video")
    _values.choice("counted", counted, get_args(Counted))
    check_labels = _values.switch("check_labels", check_labels)
    if len(num_snippets) != len(videos):
        raise ValueError(
            f"num_snippets must have an entry for each of {len(videos)} videos; got "
            f"{len(num_snippets)}"
        )
    num_snippets = [
        _values.count(f"num_snippets of {video.name!r}", snippets)
        for video, snippets in zip(videos, num_snippets, strict=True)
    ]
    lengths = [
        ground_truth_length(video, snippets, length_rule=length_rule)
        for video, snippets in zip(videos, num_snippets, strict=True)
    ]
    path = None if source is None else _values.path("source", source)
    kind = None if path is None else _kind(path)
    if kind == "annotations":
        check_boundaries(boundaries)
    elif boundaries is not None:
        raise ValueError(
            f"{give('boundaries', boundaries)} is for annotation files; "
            "vectors with a value for each frame have no boundaries to interpret"
        )
    if path is None:
        truth = [
            _from_own_file(video, snippets, length, counted)
            for video, snippets, length in zip(videos, num_snippets, lengths, strict=True)
        ]
    elif kind == "annotations":
        assert boundaries is not None
        truth = _from_annotations(videos, num_snippets, lengths, path, boundaries, counted)
    else:
        truth = _from_concatenated(
            videos, num_snippets, lengths, path, left_out, length_rule, counted
        )
    if check_labels:
        _check_labels(videos, truth, source)
    return truth


def _kind(source: Path) -> str:
    if source.is_dir() or not (source.is_file() or source.suffix.lower() in (".npy", ".txt")):
        raise FileNotFoundError(f"ground truth {source} does not exist or is not a file")
    if source.is_file():
        return kind_of_truth(source)
    return "vector" if source.suffix.lower() == ".npy" else "annotations"


def _from_own_file(video: Video, num_snippets: int, length: int, counted: Counted) -> FrameLabels:
    if video.frame_labels is None:
        if video.label is None:
            raise DataError(
                f"{video.name}: neither its label nor its ground truth is known; fill the "
                f"manifest's column label or frame_labels, or give {give('source')}"
            )
        if video.label:
            raise DataError(
                f"{video.name}: an anomalous video without ground truth; fill the manifest's "
                f"column frame_labels, or give {give('source')}"
            )
        return np.zeros(length, dtype=np.uint8)
    labels = read_frame_labels(video.frame_labels)
    if len(labels) != length:
        raise DataError(
            f"{video.name}: ground truth {video.frame_labels} has {len(labels)} frames, but "
            f"{length} are expected ({num_snippets} "
            f"{'snippets' if counted == 'features' else 'scores'}, num_frames {video.num_frames}, "
            f"frames_per_snippet {video.frames_per_snippet}); likely cause: "
            f"{why_own_differs(video, num_snippets, len(labels), counted)}"
        )
    return labels


def _from_concatenated(
    videos: Sequence[Video],
    num_snippets: Sequence[int],
    lengths: Sequence[int],
    path: Path,
    left_out: Sequence[LeftOut],
    length_rule: LengthRule,
    counted: Counted,
) -> list[FrameLabels]:
    labels = read_frame_labels(path)
    whole: list[tuple[Video, int | None, int]] = list(
        zip(videos, num_snippets, lengths, strict=True)
    )
    absent = set()
    for place, video, _ in sorted(left_out, key=lambda entry: entry.place):
        if not 0 <= place <= len(whole):
            raise ValueError(f"left_out: {video.name!r} can't have place {place} in the list")
        length = ground_truth_length(video, None, length_rule=length_rule)
        whole.insert(place, (video, None, length))
        absent.add(place)
    ends = np.cumsum([length for *_, length in whole])
    if len(labels) != ends[-1]:
        cause = why_vector_differs(
            [video for video, *_ in whole],
            [snippets for _, snippets, _ in whole],
            [length for *_, length in whole],
            labels,
            counted,
        )
        raise DataError(
            f"ground truth {path} has {len(labels)} frames, but the {len(whole)} videos have "
            f"{ends[-1]}; likely cause: {cause}. The list must name the videos of the "
            "ground truth in its order, with features of the same snippet length"
        )
    parts = np.split(labels, ends[:-1])
    return [part for place, part in enumerate(parts) if place not in absent]


def _from_annotations(
    videos: Sequence[Video],
    num_snippets: Sequence[int],
    lengths: Sequence[int],
    path: Path,
    boundaries: Boundaries,
    counted: Counted,
) -> list[FrameLabels]:
    annotations = annotation_lines(path)
    truth = []
    first_of: dict[str, str] = {}
    for video, snippets, length in zip(videos, num_snippets, lengths, strict=True):
        name = base_name(video.name)
        other = first_of.setdefault(name, video.name)
        if other != video.name:
            raise DataError(
                f"{path}: annotations name videos without folder and suffix, and both {other!r} "
                f"and {video.name!r} are {name!r}; rename one of them"
            )
        if name not in annotations and video.label != 0:
            state = "anomalous video" if video.label else "video of unknown label"
            raise DataError(
                f"{path} has no line for the {state} {video.name!r}; it has "
                f"{len(annotations)}, such as {next(iter(annotations))!r} (a name that holds "
                "blanks needs its suffix there)"
            )
        line = annotations.get(name)
        intervals = () if line is None else line.intervals
        if counted == "scores" and line is not None and _are_frames(snippets, line, video):
            cause = scores_per_frame(video.frames_per_snippet)
            raise DataError(
                f"{path}, video {video.name!r}: the line states {line.num_frames} frames, and "
                f"there are {snippets} scores; likely cause: {cause}"
            )
        slack = _slack(video, boundaries)
        for interval in intervals:
            _check_end(interval, video, length, boundaries, path, slack)
        truth.append(intervals_to_frames(intervals, length, boundaries=boundaries, slack=slack))
    return truth


def _are_frames(scores: int, line: Line, video: Video) -> bool:
    """Tell whether there is one score per frame, give or take a snippet, and not per snippet."""
    each = video.frames_per_snippet
    if line.num_frames is None or each is None or each == 1:
        return False
    return abs(scores - line.num_frames) <= each < line.num_frames


def _slack(video: Video, boundaries: Boundaries) -> int:
    """Return how far, in frames, an interval may reach beyond the features.

    They leave out the video's last, incomplete snippet, or a complete one that lost a frame in
    decoding. Published annotations give the last frame's number as counted from 1, which is one
    frame more where the pair is read as counted from 0 with both ends included.
    """
    return (video.frames_per_snippet or 0) + (boundaries == "[s,e]")


def _check_end(
    interval: Interval,
    video: Video,
    length: int,
    boundaries: Boundaries,
    path: Path,
    slack: int,
) -> None:
    beyond = end_of(interval, boundaries) - length
    if beyond <= slack:
        return
    raise DataError(
        f"{path}, video {video.name!r}: interval {interval.start} {interval.end} ends {beyond} "
        f"frames after the last of {length} frames; likely cause: features of another video or "
        "frame rate, or a wrong frames_per_snippet or num_frames. Up to "
        f"{slack} frames beyond are allowed with {give('boundaries', boundaries)}, since features "
        "leave out a video's incomplete last snippet"
    )


def _check_labels(
    videos: Sequence[Video],
    truth: Sequence[FrameLabels],
    source: str | os.PathLike[str] | None,
) -> None:
    for video, frames in zip(videos, truth, strict=True):
        count = int(frames.sum())
        if video.label is not None and bool(count) != bool(video.label):
            raise DataError(
                f"{source or video.frame_labels}: {video.name!r} is labelled "
                f"{'anomalous' if video.label else 'normal'}, but {count or 'none'} of its "
                f"{len(frames)} frames {'is' if count == 1 else 'are'} anomalous; likely cause: "
                "the list is in another order than the ground truth, or the video's label is "
                f"wrong ({give('check_labels', False)} accepts it)"
            )
