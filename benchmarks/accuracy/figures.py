"""Figures of scores against truth by snippet, weighted so that they are those over frames.

Every frame of a snippet has the snippet's score, so a snippet with its numbers of anomalous and
normal frames says as much as the frames do, at a sixteenth of the work. Videos may have weights:
a bootstrap draws them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .datasets import Truth

Array = NDArray[np.float64]
FIGURES = ("auc", "ap", "anomalous_auc", "anomalous_ap", "video_auc", "far")
THRESHOLD = 0.5


class Curves:
    """Areas under ROC and precision-recall curves for any weights of the videos.

    Parameters
    ----------
    scores : ndarray, (n,)
        Of the snippets.
    truth : Truth
        Theirs.
    only_anomalous : bool
        Leave out the normal videos.
    """

    def __init__(self, scores: Array, truth: Truth, *, only_anomalous: bool = False) -> None:
        kept = truth.labels[truth.video] == 1 if only_anomalous else np.ones(len(scores), bool)
        order = np.argsort(-scores[kept], kind="stable")
        ordered = scores[kept][order]
        self.positive = truth.anomalous[kept][order]
        self.negative = truth.normal[kept][order]
        self.video = truth.video[kept][order]
        # Snippets of one score are one step of the curve.
        self.ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True))

    def areas(self, weights: Array) -> tuple[Array, Array]:
        """Return (AUC, AP) for each row of ``weights`` (R, videos); AP is the trapezoidal area."""
        drawn = weights[:, self.video]
        tp = np.cumsum(drawn * self.positive, axis=1)[:, self.ends]
        fp = np.cumsum(drawn * self.negative, axis=1)[:, self.ends]
        with np.errstate(invalid="ignore", divide="ignore"):
            x = np.pad(fp / fp[:, -1:], ((0, 0), (1, 0)))
            y = np.pad(tp / tp[:, -1:], ((0, 0), (1, 0)))
            precision = np.pad(tp / (tp + fp), ((0, 0), (1, 0)), constant_values=1.0)
            # Steps of weight 0 at the top have no precision; recall stands still there.
            precision = np.nan_to_num(precision, nan=1.0)
            auc = (np.diff(x) * (y[:, 1:] + y[:, :-1]) / 2).sum(axis=1)
            ap = (np.diff(y) * (precision[:, 1:] + precision[:, :-1]) / 2).sum(axis=1)
        return auc, ap


def rank_auc(scores: Array, labels: NDArray[np.int64]) -> float:
    """Return the area under the ROC curve of plain items; NaN with one class."""
    positives, negatives = scores[labels == 1], scores[labels == 0]
    if not len(positives) or not len(negatives):
        return float("nan")
    above = (positives[:, None] > negatives).mean() + (positives[:, None] == negatives).mean() / 2
    return float(above)


def maxima(scores: Array, truth: Truth) -> Array:
    """Return each video's largest score."""
    starts = np.flatnonzero(np.diff(truth.video, prepend=-1))
    largest: Array = np.maximum.reduceat(scores, starts)
    return largest


def test_figures(scores: Array, truth: Truth) -> dict[str, float]:
    """Return the figures by name; NaN where one is not defined."""
    one = np.ones((1, len(truth.labels)))
    auc, ap = Curves(scores, truth).areas(one)
    anomalous_auc, anomalous_ap = Curves(scores, truth, only_anomalous=True).areas(one)
    quiet = np.where(truth.labels[truth.video] == 0, truth.normal, 0)
    alarms = quiet[scores >= THRESHOLD].sum()
    values = (
        auc[0],
        ap[0],
        anomalous_auc[0],
        anomalous_ap[0],
        rank_auc(maxima(scores, truth), truth.labels),
        alarms / quiet.sum() if quiet.sum() else np.nan,
    )
    return {name: float(value) for name, value in zip(FIGURES, values, strict=True)}


class BagCriterion(NamedTuple):
    """A figure of held-out bags that needs their labels only, and whether more is better."""

    name: str
    larger: bool


CRITERIA = (
    BagCriterion("video_auc", True),
    BagCriterion("topk_auc", True),
    BagCriterion("mil", False),
    BagCriterion("contrast", True),
    BagCriterion("gap", True),
)


def bag_criteria(
    scores: Array, video: NDArray[np.int64], labels: NDArray[np.int64]
) -> dict[str, float]:
    """Return what held-out bags say of a model, by name.

    ``video_auc``: of the bags' largest scores. ``topk_auc``: of the means of their
    floor(T / 16) + 1 largest. ``mil``: the loss. ``contrast``: over anomalous bags, the mean
    distance from the median to the mean of the largest scores, less the same over normal ones.
    ``gap``: the ROC area of all snippets of anomalous bags against all of normal ones.
    """
    largest, top, median, mil = [], [], [], []
    for index, label in enumerate(labels):
        own = np.sort(scores[video == index])[::-1]
        top.append(own[: len(own) // 16 + 1].mean())
        largest.append(own[0])
        median.append(np.median(own))
        p = min(max(top[-1] if label else own[0], 1e-7), 1 - 1e-7)
        mil.append(-np.log(p if label else 1 - p))
    spread = np.array(top) - np.array(median)
    weights = np.bincount(video).astype(float)
    bag = labels[video] == 1
    truth = Truth(bag.astype(float), (~bag).astype(float), video, labels)
    # Every bag counts alike, however long.
    gap = Curves(scores, truth).areas(1 / weights[None, :])[0][0]
    return {
        "video_auc": rank_auc(np.array(largest), labels),
        "topk_auc": rank_auc(np.array(top), labels),
        "mil": float(np.mean(mil)),
        "contrast": float(spread[labels == 1].mean() - spread[labels == 0].mean()),
        "gap": float(gap),
    }


def best_epoch(criteria: list[Mapping[str, float]], name: str) -> int:
    """Return the index of the epoch that a criterion chooses: the later one among equals."""
    larger = {criterion.name: criterion.larger for criterion in CRITERIA}[name]
    values = np.array([epoch[name] for epoch in criteria])
    values = values if larger else -values
    return int(len(values) - 1 - np.argmax(values[::-1]))
