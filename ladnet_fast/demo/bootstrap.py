"""Figures over the held-out bags, with intervals for the chance in the draw of bags and seeds.

A bootstrap draws bags with replacement within each label, and seeds with replacement, alike for all
configurations, so that their differences are paired. The interval is about bags cut from this
footage; it says nothing about other footage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

#: Names of the figures, as `ladnet_fast.metrics.Metrics` has them, and as they are shown.
FIGURES = {"auc": "AUC", "anomalous_auc": "AUC, anomalous bags alone", "ap": "AP"}
RESAMPLES = 1000
COVERAGE = 0.95
_CHUNK = 50


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds, and its bootstrap interval; ``by_seed`` are the seeds' own values."""

    mean: float
    low: float
    high: float
    by_seed: tuple[float, ...]

    @property
    def apart_from_zero(self) -> bool:
        """Whether the whole interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One figure of one configuration: (seeds,) as seen, (seeds, R) on every draw of bags."""

    seen: Array
    drawn: Array


class Bootstrap:
    """The draws of bags and seeds, which all configurations share.

    Parameters
    ----------
    truth : sequence of ndarray
        (T_i,) of 0 and 1 for every bag.
    labels : sequence of int
        The bags' labels.
    seeds : int
        How many trainings each configuration has.
    resamples : int
        Draws.
    """

    def __init__(
        self,
        truth: Sequence[npt.NDArray[np.uint8]],
        labels: Sequence[int],
        seeds: int,
        resamples: int = RESAMPLES,
    ) -> None:
        rng = np.random.default_rng(0)
        self.truth = np.concatenate(truth).astype(bool)
        self.bag = np.repeat(np.arange(len(truth)), [len(bag) for bag in truth])
        self.labels = np.asarray(labels)
        self.weights = np.zeros((resamples, len(truth)))
        for label in (0, 1):
            members = np.flatnonzero(self.labels == label)
            even = np.full(len(members), 1 / len(members))
            self.weights[:, members] = rng.multinomial(len(members), even, size=resamples)
        self.seeds = rng.integers(seeds, size=(resamples, seeds))

    def measure(self, scores: Sequence[Sequence[npt.NDArray[np.float32]]]) -> dict[str, Measured]:
        """Return every figure, given a configuration's scores by seed and bag."""
        weights = np.vstack([np.ones(len(self.labels)), self.weights])
        by_seed = [self._figures(np.concatenate(list(bags)), weights) for bags in scores]
        stacked = {name: np.stack([figures[name] for figures in by_seed]) for name in FIGURES}
        return {name: Measured(rows[:, 0], rows[:, 1:]) for name, rows in stacked.items()}

    def estimate(self, one: Measured, minus: Measured | None = None) -> Estimate:
        """Return the mean over seeds with its interval, of a figure or of a paired difference."""
        seen = one.seen if minus is None else one.seen - minus.seen
        drawn = one.drawn if minus is None else one.drawn - minus.drawn
        means = drawn[self.seeds, np.arange(drawn.shape[1])[:, None]].mean(axis=1)
        tail = 100 * (1 - COVERAGE) / 2
        low, high = np.percentile(means, [tail, 100 - tail])
        return Estimate(float(seen.mean()), float(low), float(high), tuple(seen.tolist()))

    def _figures(self, scores: npt.NDArray[np.float32], weights: Array) -> dict[str, Array]:
        auc, ap = _areas(scores, self.truth, weights[:, self.bag])
        alone = self.labels[self.bag] == 1
        within, _ = _areas(scores[alone], self.truth[alone], weights[:, self.bag[alone]])
        return {"auc": auc, "anomalous_auc": within, "ap": ap}


def _areas(
    scores: npt.NDArray[np.float32], truth: npt.NDArray[np.bool_], weights: Array
) -> tuple[Array, Array]:
    """Return AUC and trapezoidal AP (R,) of snippets, for each row of their weights (R, n)."""
    order = np.argsort(-scores, kind="stable")
    # Snippets of one score are one step of the curve.
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    parts = [
        _areas_of(truth[order], ends, weights[start : start + _CHUNK, order])
        for start in range(0, len(weights), _CHUNK)
    ]
    return np.concatenate([auc for auc, _ in parts]), np.concatenate([ap for _, ap in parts])


def _areas_of(
    truth: npt.NDArray[np.bool_], ends: npt.NDArray[np.int64], weights: Array
) -> tuple[Array, Array]:
    hits = np.cumsum(weights * truth, axis=1)[:, ends]
    alarms = np.cumsum(weights * ~truth, axis=1)[:, ends]
    first = ((0, 0), (1, 0))
    shown = hits + alarms
    # Bags that were not drawn may be first: nothing is found there, and nothing is wrong.
    precision = np.divide(hits, shown, out=np.ones_like(hits), where=shown > 0)
    precision = np.pad(precision, first, constant_values=1.0)
    recall = np.pad(hits / hits[:, -1:], first)
    fallout = np.pad(alarms / alarms[:, -1:], first)
    return _under(fallout, recall), _under(recall, precision)


def _under(x: Array, y: Array) -> Array:
    """Return the trapezoidal area under every row."""
    area: Array = (np.diff(x, axis=1) * (y[:, 1:] + y[:, :-1]) / 2).sum(axis=1)
    return area
