"""From snippet scores and ground truth to the field's figures."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._wording import name_of
from ..data import (
    Boundaries,
    DataError,
    LeftOut,
    LengthRule,
    Video,
    feature_shape,
    load_ground_truth,
)
from ..data._truth_causes import Counted, scores_per_frame
from ..metrics import Metrics, evaluate, frame_scores, smooth
from ..metrics.frames import Smoothing
from .scoring import Scores


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """Where frame-level truth comes from, and how it is to be read.

    The fields are those of `ladnet_fast.data.load_ground_truth`; without any, each video's
    own ``frame_labels``. ``left_out`` are the videos of the list that are not evaluated.
    """

    source: str | os.PathLike[str] | None = None
    boundaries: Boundaries | None = None
    length_rule: LengthRule = "auto"
    check_labels: bool = True
    left_out: Sequence[LeftOut] = ()

    def load(
        self,
        videos: Sequence[Video],
        num_snippets: Sequence[int],
        *,
        counted: Counted = "features",
    ) -> list[NDArray[np.uint8]]:
        """Return each video's vector of 0 and 1; ``counted`` is what ``num_snippets`` counts."""
        return load_ground_truth(
            videos,
            num_snippets,
            source=self.source,
            boundaries=self.boundaries,
            length_rule=self.length_rule,
            check_labels=self.check_labels,
            left_out=self.left_out,
            counted=counted,
        )

    def covers(self, videos: Sequence[Video]) -> bool:
        """Tell whether there is frame-level truth for all of ``videos``: normal ones need none."""
        if self.source is not None:
            return True
        return all(video.frame_labels is not None or video.label == 0 for video in videos)


def evaluate_scores(
    videos: Sequence[Video],
    scores: Mapping[str, Scores],
    *,
    ground_truth: GroundTruth | None = None,
    smoothing: tuple[Smoothing, int] | None = None,
    threshold: float = 0.5,
) -> Metrics:
    """Compare snippet scores with frame-level truth.

    Parameters
    ----------
    videos : sequence of Video
        In the order of a concatenated ground truth. Where a label is not known, the truth gives
        it: a video with an anomalous frame is anomalous.
    scores : mapping of str to ndarray (T,)
        By video name.
    ground_truth : GroundTruth, optional
        Default: the videos' own files.
    smoothing : (kind, k), optional
        See `ladnet_fast.metrics.smooth`; none by default.
    threshold : float
        Of the false-alarm rate.

    Returns
    -------
    Metrics

    Raises
    ------
    ValueError
        If scores of a video are missing, lengths don't fit (names the video), or ``threshold`` is
        not finite.
    DataError, FileNotFoundError
        From a ground-truth file.
    """
    if not math.isfinite(threshold):
        raise ValueError(f"{name_of('threshold')} must be a finite number; got {threshold}")
    lengths = [len(scores_of(scores, video)) for video in videos]
    for video, length in zip(videos, lengths, strict=True):
        _check_per_snippet(video, length)
    truth = (ground_truth or GroundTruth()).load(videos, lengths, counted="scores")
    return compare(videos, scores, truth, smoothing=smoothing, threshold=threshold)


def compare(
    videos: Sequence[Video],
    scores: Mapping[str, Scores],
    truth: Sequence[NDArray[np.uint8]],
    *,
    smoothing: tuple[Smoothing, int] | None = None,
    threshold: float = 0.5,
) -> Metrics:
    """Do the work of `evaluate_scores` with truth that is loaded already."""
    frames = []
    for video, labels in zip(videos, truth, strict=True):
        snippet_scores: NDArray[np.floating] = scores_of(scores, video)
        if smoothing is not None:
            snippet_scores = smooth(snippet_scores, *smoothing)
        _check_covered(video, len(snippet_scores), len(labels))
        try:
            frames.append(frame_scores(snippet_scores, video.frames_per_snippet, len(labels)))
        except ValueError as error:
            raise ValueError(f"{video.name}: {error}") from error
    return evaluate(
        frames,
        truth,
        labels_of(videos, truth),
        [video.classes for video in videos],
        names=[video.name for video in videos],
        threshold=threshold,
    )


def _check_per_snippet(video: Video, scores: int) -> None:
    """Refuse one score per frame where the features show it; annotations don't show it."""
    each, source = video.frames_per_snippet, video.features[0]
    if each is None or each == 1 or source.path.suffix.lower() != ".npy":
        return
    try:
        snippets = feature_shape(source, axes=video.axes)[0]
    except (DataError, OSError):
        return  # evaluating doesn't need the features: this is one more check where they are there
    if scores > snippets and abs(scores - snippets * each) <= each:
        raise ValueError(
            f"{video.name}: {scores} scores, but {snippets} snippets in {source}; likely cause: "
            f"{scores_per_frame(each)}"
        )


def _check_covered(video: Video, scores: int, frames: int) -> None:
    """Refuse scores that can't be of ``frames`` frames, with the likely cause."""
    each = video.frames_per_snippet
    if each is None or scores * each - each < frames <= scores * each + each:
        return
    cause = "scores and ground truth are of different videos, or frames_per_snippet is wrong"
    if scores == frames:
        cause = scores_per_frame(each)
    raise ValueError(
        f"{video.name}: {scores} scores of {each} frames each cover {scores * each} frames, but "
        f"its ground truth has {frames}; a difference of one snippet is allowed. Likely cause: "
        f"{cause}"
    )


def labels_of(videos: Sequence[Video], truth: Sequence[NDArray[np.uint8]]) -> list[int]:
    """Return each video's label; where it is not known, 1 if a frame of its truth is anomalous."""
    return [
        int(frames.any()) if video.label is None else video.label
        for video, frames in zip(videos, truth, strict=True)
    ]


def scores_of(scores: Mapping[str, Scores], video: Video) -> Scores:
    """Return a video's scores; ValueError names it where they are missing."""
    try:
        return scores[video.name]
    except KeyError:
        raise ValueError(f"scores have no entry for video {video.name!r}") from None


def of_videos_alone(videos: Sequence[Video], scores: Mapping[str, Scores]) -> Metrics:
    """Compare the videos' largest scores with their labels.

    There is no truth of frames here, and each bag's label stands in for it. So ``video_auc``, which
    is NaN with one class, is the only figure that means what its name says.
    """
    maxima = [np.array([scores[video.name].max()]) for video in videos]
    labels = [video.known_label for video in videos]
    return evaluate(maxima, [np.array([label]) for label in labels], labels)


def figures(metrics: Metrics) -> dict[str, float]:
    """Return the figures over all videos by name, those that are defined."""
    names = (
        "auc", "ap", "average_precision", "far", "anomalous_auc", "anomalous_ap", "video_auc",
    )  # fmt: skip
    return {name: getattr(metrics, name) for name in names if name not in metrics.undefined}


def output_folder(path: str | os.PathLike[str]) -> Path:
    """Create a folder for results; raise an error that names it if a file is there."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ValueError(f"{folder} is a file; name a folder for the results") from error
    return folder
