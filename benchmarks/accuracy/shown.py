"""The test videos that a configuration helps and hurts most, with their score curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .datasets import Truth
from .figures import Curves

Array = NDArray[np.float64]


def video_areas(scores: Array, truth: Truth) -> Array:
    """Return the AUC over the frames of each video by itself; NaN where they are of one kind."""
    areas = np.full(len(truth.labels), np.nan)
    for index in range(len(truth.labels)):
        own = truth.video == index
        anomalous, normal = truth.anomalous[own], truth.normal[own]
        if anomalous.any() and normal.any():
            part = Truth(anomalous, normal, np.zeros(own.sum(), np.int64), np.ones(1, np.int64))
            areas[index] = Curves(scores[own], part).areas(np.ones((1, 1)))[0][0]
    return areas


def extremes(
    names: Sequence[str], truth: Truth, baseline: Sequence[Array], other: Sequence[Array]
) -> dict[str, Any]:
    """Compare two configurations video by video.

    Parameters
    ----------
    names : sequence of str
        Of the test videos.
    truth : Truth
        Theirs.
    baseline, other : sequences of ndarray, (snippets,)
        Scores of each seed after the last epoch.

    Returns
    -------
    dict
        ``videos`` with a figure of their own; how many of them are ``better`` and ``worse`` in the
        mean over seeds; and ``most``: for the one helped and the one hurt most, its name, both
        AUCs, the part of each snippet that is anomalous, and both mean curves. JSON types.
    """
    before, after = (
        np.mean([video_areas(scores, truth) for scores in runs], axis=0)
        for runs in (baseline, other)
    )
    change = after - before
    known = np.flatnonzero(np.isfinite(change))
    found: dict[str, Any] = {
        "videos": len(known),
        "better": int((change[known] > 0).sum()),
        "worse": int((change[known] < 0).sum()),
        "most": {},
    }
    if not len(known):
        return found
    for what, index in (
        ("helped", int(known[change[known].argmax()])),
        ("hurt", int(known[change[known].argmin()])),
    ):
        own = truth.video == index
        total = truth.anomalous[own] + truth.normal[own]
        found["most"][what] = {
            "video": names[index],
            "before": round(float(before[index]), 4),
            "after": round(float(after[index]), 4),
            "anomalous": np.round(truth.anomalous[own] / np.maximum(total, 1), 3).tolist(),
            "baseline": np.round(np.mean([run[own] for run in baseline], axis=0), 4).tolist(),
            "scores": np.round(np.mean([run[own] for run in other], axis=0), 4).tolist(),
        }
    return found
