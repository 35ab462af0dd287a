"""Frame AUC and AP collected batch by batch, with the methods of a torchmetrics metric.

>>> auc = FrameAUC(frames_per_snippet=16)
>>> for scores, frame_labels in videos:
...     auc.update(scores, frame_labels)
>>> auc.compute()   # tensor(0.8432), of all frames of all videos together
>>> auc.reset()

The figures are those of `ladnet_fast.metrics.evaluate`. Nothing but the core is needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .frames import frame_scores


class _FrameCurve:
    """Collects the scores and labels of frames, and computes one figure from all of them.

    Parameters
    ----------
    frames_per_snippet : int or None
        Frames that each score stands for; None: one score per frame.
    """

    def __init__(self, frames_per_snippet: int | None = None) -> None:
        if frames_per_snippet is not None and frames_per_snippet < 1:
            raise ValueError(f"frames_per_snippet must be at least 1; got {frames_per_snippet}")
        self.frames_per_snippet = frames_per_snippet
        self.reset()

    def reset(self) -> None:
        """Forget every frame."""
        self._scores: list[NDArray[np.float64]] = []
        self._labels: list[NDArray[np.bool_]] = []

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add the frames of one video, or of several that have scores for each frame.

        Parameters
        ----------
        preds : Tensor
            Scores, floating and finite, on any device: one per frame, of any shape; with
            ``frames_per_snippet`` (T,), those of one video.
        target : Tensor
            0 or 1 for each frame, bool, integer or floating: of the shape of ``preds``; with
            ``frames_per_snippet`` (frames,), a part of a snippet more or less is allowed.

        Raises
        ------
        ValueError
            If shapes do not fit, or a value is not one of these.
        """
        scores = preds.detach().double().cpu().numpy()
        labels = target.detach().cpu().numpy()
        if self.frames_per_snippet is not None:
            if scores.ndim != 1 or labels.ndim != 1:
                raise ValueError(
                    "with frames_per_snippet, preds and target are those of one video: (T,) and "
                    f"(frames,); got {tuple(preds.shape)} and {tuple(target.shape)}"
                )
            scores = frame_scores(scores, self.frames_per_snippet, len(labels))
        if scores.shape != labels.shape:
            raise ValueError(
                f"target must have one label per score, shape {tuple(preds.shape)}; got "
                f"{tuple(target.shape)}"
            )
        if not np.isfinite(scores).all():
            raise ValueError("preds must be finite; got NaN or infinity")
        if not np.isin(labels, (0, 1)).all():
            raise ValueError("target must hold 0 (normal) and 1 (anomalous) only")
        self._scores.append(scores.reshape(-1))
        self._labels.append(labels.reshape(-1).astype(bool))

    def compute(self) -> Tensor:
        """Return the figure of all frames, a float64 scalar; NaN unless both classes are there.

        In a process group that is initialised, the frames of all processes count, and every process
        must call this.
        """
        collected = (self._scores, self._labels)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            everyone: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(everyone, collected)
        else:
            everyone = [collected]
        return self._of(
            [part for own, _ in everyone for part in own],
            [part for _, own in everyone for part in own],
        )

    def merge_state(self, incoming: _FrameCurve) -> None:
        """Add the frames of another metric of this kind."""
        self._scores += incoming._scores
        self._labels += incoming._labels

    def forward(self, preds: Tensor, target: Tensor) -> Tensor:
        """Add frames and return the figure of these alone."""
        alone = type(self)(self.frames_per_snippet)
        alone.update(preds, target)
        self.merge_state(alone)
        return self._of(alone._scores, alone._labels)

    __call__ = forward

    def _of(self, scores: list[NDArray[np.float64]], labels: list[NDArray[np.bool_]]) -> Tensor:
        truth = np.concatenate([np.empty(0, bool), *labels])
        if truth.all() or not truth.any():
            return torch.tensor(float("nan"), dtype=torch.float64)
        figure = self._figure(*_counts(np.concatenate(scores), truth))
        return torch.tensor(figure, dtype=torch.float64)

    def _figure(self, hits: NDArray[np.int64], alarms: NDArray[np.int64]) -> float:
        raise NotImplementedError


class FrameAUC(_FrameCurve):
    """Area under the ROC curve of all frames, collected with ``update``."""

    def _figure(self, hits: NDArray[np.int64], alarms: NDArray[np.int64]) -> float:
        return _area(alarms / alarms[-1], hits / hits[-1])


class FrameAP(_FrameCurve):
    """Trapezoidal area under the precision-recall curve of all frames: what this field calls AP."""

    def _figure(self, hits: NDArray[np.int64], alarms: NDArray[np.int64]) -> float:
        precision = np.concatenate([[1.0], hits[1:] / (hits[1:] + alarms[1:])])
        return _area(hits / hits[-1], precision)


def _counts(
    scores: NDArray[np.float64], labels: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return anomalous and normal frames above each threshold, from none to all."""
    order = np.argsort(-scores, kind="stable")
    scores, labels = scores[order], labels[order]
    last = np.flatnonzero(np.concatenate([scores[1:] != scores[:-1], [True]]))  # of equal scores
    hits = np.concatenate([[0], np.cumsum(labels)[last]])
    return hits, np.concatenate([[0], last + 1]) - hits


def _area(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))
