"""The field's figures over a test set, each with the reason where it is not defined."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._extras import import_extra
from .._values import as_real, sequence, shown, texts
from .frames import finite_vector


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """Figures of one class of anomaly; NaN where undefined.

    ``auc`` and ``ap`` are over the frames of the class's videos alone, ``auc_with_normal`` and
    ``ap_with_normal`` over these and the normal videos' frames: papers use either.
    """

    auc: float
    ap: float
    auc_with_normal: float
    ap_with_normal: float
    num_videos: int
    num_frames: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """Figures over a test set; NaN where undefined, with the reason in ``undefined``.

    Attributes
    ----------
    auc : float
        Area under the ROC curve over all frames (UCF-Crime's and ShanghaiTech's figure).
    ap : float
        Trapezoidal area under the precision-recall curve over all frames (XD-Violence's figure
        in this field, a little different from ``average_precision``).
    average_precision : float
        Sum of precisions weighted by the steps of recall, over all frames.
    far : float
        False-alarm rate FP / (FP + TN) over the normal videos' frames: the part whose score is
        at least ``threshold``.
    anomalous_auc, anomalous_ap : float
        ``auc`` and ``ap`` over the anomalous videos' frames only.
    video_auc : float
        Area under the ROC curve of the videos' largest scores against their labels.
    per_class : mapping of str to ClassMetrics
        For every class given; a video of several classes counts in each.
    undefined : mapping of str to str
        Why a figure is NaN; figures of a class are named ``per_class.NAME.auc``.
    threshold : float
        Of ``far``.
    num_videos, num_anomalous_videos, num_frames, num_anomalous_frames : int
        Sizes of the test set.
    """

    auc: float
    ap: float
    average_precision: float
    far: float
    anomalous_auc: float
    anomalous_ap: float
    video_auc: float
    per_class: Mapping[str, ClassMetrics]
    undefined: Mapping[str, str]
    threshold: float
    num_videos: int
    num_anomalous_videos: int
    num_frames: int
    num_anomalous_frames: int

    def as_dict(self) -> dict[str, Any]:
        """Return nested dicts of JSON types, None for NaN."""
        return _json_ready(dataclasses.asdict(self))


def evaluate(
    scores: Sequence[ArrayLike],
    ground_truth: Sequence[ArrayLike],
    labels: Sequence[int],
    classes: Sequence[Sequence[str]] | None = None,
    *,
    names: Sequence[str] | None = None,
    threshold: float = 0.5,
) -> Metrics:
    """Compare frame scores with frame-level ground truth.

    Parameters
    ----------
    scores : sequence of array_like, (F_i,)
        One score per frame for each video; see `frame_scores`.
    ground_truth : sequence of array_like, (F_i,)
        1 where the frame is anomalous, else 0.
    labels : sequence of int
        1 for an anomalous video, 0 for a normal one.
    classes : sequence of sequence of str, optional
        Classes of anomaly of each video (none for normal ones), for ``per_class``.
    names : sequence of str, optional
        Names of the videos, for error messages.
    threshold : float
        A frame whose score reaches it is an alarm.

    Returns
    -------
    Metrics

    Raises
    ------
    ValueError
        If the sequences differ in length, a video's scores and ground truth differ in length,
        a score is not finite, or a label is neither 0 nor 1; the message names the video. Also if
        ``threshold`` is not finite.
    MissingExtraError
        If scikit-learn is not installed (extra "tools").
    """
    limit = as_real(threshold)
    if limit is None:
        raise ValueError(f"threshold must be a finite number; got {shown(threshold)}")
    frames, truth = _checked(scores, ground_truth, labels, classes, names)
    is_anomalous = np.array([bool(label) for label in labels])
    lengths = np.array([len(video) for video in truth])
    y, s = np.concatenate(truth), np.concatenate(frames)
    curves = _Curves(y, s, lengths)
    everything = np.ones(len(frames), dtype=bool)
    auc, ap = curves.areas(everything, ("auc", "ap"))
    per_class = {}
    for name in sorted({name for video in classes or () for name in video}):
        members = np.array([name in video for video in classes or ()])
        key = f"per_class.{name}."
        alone = curves.areas(members, (f"{key}auc", f"{key}ap"))
        with_normal = curves.areas(
            members | ~is_anomalous, (f"{key}auc_with_normal", f"{key}ap_with_normal")
        )
        per_class[name] = ClassMetrics(
            *alone, *with_normal, int(members.sum()), int(lengths[members].sum())
        )
    anomalous_auc, anomalous_ap = curves.areas(is_anomalous, ("anomalous_auc", "anomalous_ap"))
    return Metrics(
        auc=auc,
        ap=ap,
        average_precision=curves.average_precision(),
        far=curves.false_alarm_rate(~is_anomalous, limit),
        anomalous_auc=anomalous_auc,
        anomalous_ap=anomalous_ap,
        video_auc=curves.video_auc(is_anomalous, np.array([video.max() for video in frames])),
        per_class=per_class,
        undefined=curves.undefined,
        threshold=limit,
        num_videos=len(frames),
        num_anomalous_videos=int(is_anomalous.sum()),
        num_frames=len(y),
        num_anomalous_frames=int(y.sum()),
    )


class _Curves:
    """Figures of parts of the test set; collects why some are undefined."""

    def __init__(
        self, truth: NDArray[np.uint8], scores: NDArray[np.float64], lengths: NDArray[np.int64]
    ) -> None:
        self.sklearn = import_extra("sklearn.metrics", extra="tools", purpose="compute AUC and AP")
        self.truth, self.scores, self.lengths = truth, scores, lengths
        self.undefined: dict[str, str] = {}

    def areas(self, videos: NDArray[np.bool_], keys: tuple[str, str]) -> tuple[float, float]:
        """Areas under the ROC and the precision-recall curve over the frames of ``videos``."""
        chosen = np.repeat(videos, self.lengths)
        y, s = self.truth[chosen], self.scores[chosen]
        reason = _why_one_sided(y)
        if reason:
            self.undefined.update(dict.fromkeys(keys, reason))
            return math.nan, math.nan
        precision, recall, _ = self.sklearn.precision_recall_curve(y, s)
        return float(self.sklearn.roc_auc_score(y, s)), float(self.sklearn.auc(recall, precision))

    def average_precision(self) -> float:
        reason = _why_one_sided(self.truth)
        if reason:
            self.undefined["average_precision"] = reason
            return math.nan
        return float(self.sklearn.average_precision_score(self.truth, self.scores))

    def false_alarm_rate(self, normal: NDArray[np.bool_], threshold: float) -> float:
        negatives = self.scores[np.repeat(normal, self.lengths) & (self.truth == 0)]
        if len(negatives) == 0:
            self.undefined["far"] = "no normal frame in a normal video"
            return math.nan
        return float((negatives >= threshold).mean())

    def video_auc(self, is_anomalous: NDArray[np.bool_], largest: NDArray[np.float64]) -> float:
        if is_anomalous.all() or not is_anomalous.any():
            missing = "normal" if is_anomalous.all() else "anomalous"
            self.undefined["video_auc"] = f"no {missing} video"
            return math.nan
        return float(self.sklearn.roc_auc_score(is_anomalous, largest))


def _why_one_sided(truth: NDArray[np.uint8]) -> str | None:
    """Say which kind of frame is absent, for which ROC and precision-recall have no meaning."""
    if len(truth) == 0:
        return "no video"
    if truth.all():
        return "no normal frame"
    return None if truth.any() else "no anomalous frame"


def _checked(
    scores: Sequence[ArrayLike],
    ground_truth: Sequence[ArrayLike],
    labels: Sequence[int],
    classes: Sequence[Sequence[str]] | None,
    names: Sequence[str] | None,
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.uint8]]]:
    sequence("scores", scores, "vectors, one for each video")
    sequence("ground_truth", ground_truth, "vectors, one for each video")
    sequence("labels", labels, "labels, 0 or 1 for each video")
    if len(scores) == 0:
        raise ValueError("scores is empty: evaluate needs at least one video")
    for argument, value in (
        ("ground_truth", ground_truth),
        ("labels", labels),
        ("classes", classes),
        ("names", names),
    ):
        if value is None:
            continue
        if len(sequence(argument, value, "entries, one for each video")) != len(scores):
            raise ValueError(
                f"{argument} must have an entry for each of the {len(scores)} videos of scores; "
                f"got {len(value)}"
            )
    checked_scores, checked_truth = [], []
    for index, label in enumerate(labels):
        name = names[index] if names is not None else f"video {index}"
        if not _is_zero_or_one(label):
            raise ValueError(f"labels must be 0 or 1; got {shown(label)} for {name}")
        if classes is not None and isinstance(classes[index], str):
            raise ValueError(
                f"classes of {name} must be a list of names, as in [{classes[index]!r}]; "
                f"got the text {classes[index]!r}"
            )
        if classes is not None:
            texts(f"classes of {name}", classes[index], "names of classes")
        video = finite_vector(f"scores of {name}", scores[index])
        try:
            truth = np.asarray(ground_truth[index])
            if truth.ndim == 0:
                raise ValueError("no vector")
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"ground_truth of {name} must be a vector of 0 and 1 only; "
                f"got {shown(ground_truth[index])}"
            ) from error
        if truth.shape != video.shape:
            raise ValueError(
                f"{name}: scores have shape {video.shape} and ground_truth {truth.shape}; both "
                "need one entry per frame: expand snippet scores with "
                "frame_scores(scores, frames_per_snippet, len(ground_truth))"
            )
        if not ((truth == 0) | (truth == 1)).all():
            raise ValueError(
                f"ground_truth of {name} must hold 0 and 1 only; got {shown(truth.tolist())}"
            )
        checked_scores.append(video)
        checked_truth.append(truth.astype(np.uint8))
    return checked_scores, checked_truth


def _is_zero_or_one(label: Any) -> bool:
    try:
        return bool(label in (0, 1))
    except (TypeError, ValueError, RuntimeError):  # an array: it is neither
        return False


def _json_ready(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json_ready(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
