"""Intervals and tests: over videos and seeds together, and paired over seeds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .datasets import Truth
from .figures import Curves

Array = NDArray[np.float64]
RESAMPLES = 400
#: Figures for which an interval over videos is drawn.
AREAS = ("auc", "ap", "anomalous_auc", "anomalous_ap")
_EXACT = 12  # up to so many seeds every flip of signs is looked at
_CHUNK = 50


@dataclass(frozen=True, slots=True)
class Draws:
    """What a bootstrap draws, alike for all configurations of a data set."""

    videos: Array  # (R, videos): how often each was drawn, within its label
    seeds: NDArray[np.int64]  # (R, seeds): which seeds


def draws(truth: Truth, seeds: int, resamples: int = RESAMPLES) -> Draws:
    """Draw videos with replacement within each label, and seeds with replacement."""
    rng = np.random.default_rng(0)
    weights = np.zeros((resamples, len(truth.labels)))
    for label in np.unique(truth.labels):
        members = np.flatnonzero(truth.labels == label)
        weights[:, members] = rng.multinomial(
            len(members), np.full(len(members), 1 / len(members)), size=resamples
        )
    return Draws(weights, rng.integers(seeds, size=(resamples, seeds)))


def resampled(scores: Array, truth: Truth, drawn: Draws) -> dict[str, Array]:
    """Return the figures (R,) of one run on every draw of videos."""
    found = {}
    for prefix, only_anomalous in (("", False), ("anomalous_", True)):
        curves = Curves(scores, truth, only_anomalous=only_anomalous)
        parts = [
            curves.areas(drawn.videos[start : start + _CHUNK])
            for start in range(0, len(drawn.videos), _CHUNK)
        ]
        for position, name in enumerate(("auc", "ap")):
            found[prefix + name] = np.concatenate([part[position] for part in parts])
    return found


def interval(by_seed: Array, drawn: Draws) -> tuple[float, float]:
    """Return the central 95 % of the mean over the drawn seeds; ``by_seed`` is (seeds, R)."""
    rows = np.arange(by_seed.shape[1])[:, None]
    means = by_seed[drawn.seeds, rows].mean(axis=1)
    low, high = np.nanpercentile(means, [2.5, 97.5]) if np.isfinite(means).any() else (np.nan,) * 2
    return float(low), float(high)


def sign_flip(differences: Sequence[float]) -> float:
    """Return the two-sided p of the paired test that flips signs of the differences.

    Exact up to 12 pairs, else from 4,096 random flips. n pairs can't give less than 2 / 2^n.
    """
    d = np.asarray(differences, dtype=float)
    if not len(d) or not np.isfinite(d).all():
        return float("nan")
    if len(d) <= _EXACT:
        signs = np.array(list(itertools.product((1, -1), repeat=len(d))))
    else:
        signs = np.random.default_rng(0).choice((1, -1), size=(4096, len(d)))
        signs[0] = 1  # what was seen is one of the possible outcomes
    means = np.abs((signs * d).mean(axis=1))
    return float((means >= abs(d.mean()) * (1 - 1e-9)).mean())


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the correlation of the ranks; NaN where one side doesn't vary."""
    x, y = (_ranks(np.asarray(side, dtype=float)) for side in (a, b))
    x, y = x - x.mean(), y - y.mean()
    norm = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / norm) if norm else float("nan")


def _ranks(values: Array) -> Array:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middle: Array = last - (counts - 1) / 2  # equals share the mean of their places
    return middle[inverse]
