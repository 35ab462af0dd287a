"""Bringing videos to a common length for training. Scoring always uses the full length."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._values import count, shown

MAX_SNIPPETS = 200
BINS = 32


def linspace_indices(length: int, size: int = MAX_SNIPPETS) -> NDArray[np.int64]:
    """Rows that `linspace_sample` keeps of ``length``: all, or ``size`` evenly spaced ones.

    ``floor(linspace(0, length - 1, size))`` when ``length > size``, else ``0 .. length - 1``;
    int64, so that no length overflows.
    """
    length, size = count("length", length), count("size", size, most=None)
    if length <= size:
        return np.arange(length, dtype=np.int64)
    return np.linspace(0, length - 1, size).astype(np.int64)


def linspace_sample(
    features: NDArray[np.floating[Any]], size: int = MAX_SNIPPETS
) -> NDArray[np.floating[Any]]:
    """Keep at most ``size`` evenly spaced snippets, as the released code of this field does.

    Parameters
    ----------
    features : ndarray, (T, D)
        Snippet features, T >= 1.
    size : int
        Largest number of snippets to keep.

    Returns
    -------
    ndarray, (min(T, size), D)
        Rows ``linspace_indices(T, size)``, in their dtype. A short video is not padded here:
        `collate` pads a batch, and its ``lengths`` keep the true length.
    """
    _check_matrix(features)
    size = count("size", size, most=None)
    if len(features) <= size:
        return features
    return features[linspace_indices(len(features), size)]


def bin_mean(features: NDArray[np.floating[Any]], bins: int = BINS) -> NDArray[np.floating[Any]]:
    """Average the snippets of each of ``bins`` equal parts of the video.

    Bin i is the mean of rows ``r[i] .. r[i + 1] - 1`` with ``r = floor(linspace(0, T, bins + 1))``.
    Where T < bins a bin may be empty; it then takes row ``r[i]``, so rows repeat.

    Parameters
    ----------
    features : ndarray, (T, D)
        Snippet features, T >= 1.
    bins : int
        Number of rows of the result.

    Returns
    -------
    ndarray, (bins, D)
        In the dtype of ``features``; means are accumulated in float64.
    """
    _check_matrix(features)
    kind = getattr(features.dtype, "kind", None)  # PyTorch's dtypes have none
    if kind is None or kind not in "fiub":
        raise ValueError(
            f"features must be a NumPy array of real numbers; got {type(features).__name__} of "
            f"{features.dtype}"
        )
    bins = count("bins", bins)
    edges = np.linspace(0, len(features), bins + 1).astype(np.int64)
    # reduceat gives the row at the edge itself for an empty bin.
    sums = np.add.reduceat(features, edges[:-1], axis=0, dtype=np.float64)
    counts = np.maximum(np.diff(edges), 1)
    return (sums / counts[:, None]).astype(features.dtype)


def _check_matrix(features: NDArray[np.floating[Any]]) -> None:
    if not (hasattr(features, "ndim") and hasattr(features, "shape")):
        raise ValueError(
            f"features must be a NumPy array of shape (T, D); got {shown(features)}, "
            f"{type(features).__name__}"
        )
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(
            f"features must have shape (T, D) with T and D at least 1; got {features.shape}"
        )
