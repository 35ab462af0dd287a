"""From one score per snippet to one per frame."""

from __future__ import annotations

import numbers
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._choices import Smoothing
from .._values import choice, count, shown

Edge = Literal["shrink", "zero"]


def frame_scores(
    scores: ArrayLike, frames_per_snippet: int | None, num_frames: int | None = None
) -> NDArray[np.float64]:
    """Repeat each snippet's score for the frames that it stands for.

    Parameters
    ----------
    scores : array_like, (T,)
        One score per snippet.
    frames_per_snippet : int or None
        Frames of a snippet. None: the T snippets share ``num_frames`` evenly; frame f belongs to
        snippet floor(f T / num_frames).
    num_frames : int, optional
        Length of the result; default ``T * frames_per_snippet``. It may be less by a part of a
        snippet (the last snippet was filled up) or more by up to one snippet, for which the last
        score is repeated (incomplete snippets were left out, and optical flow loses one frame).

    Returns
    -------
    ndarray, (num_frames,), float64

    Raises
    ------
    ValueError
        If ``num_frames`` doesn't fit T, or an argument is not allowed.
    """
    scores = finite_vector("scores", scores)
    num_frames = None if num_frames is None else count("num_frames", num_frames)
    if frames_per_snippet is None:
        if num_frames is None:
            raise ValueError("num_frames must be given where frames_per_snippet is None; got None")
        return scores[np.arange(num_frames) * len(scores) // num_frames]
    frames_per_snippet = count("frames_per_snippet", frames_per_snippet)
    covered = len(scores) * frames_per_snippet
    if num_frames is None:
        num_frames = covered
    if not covered - frames_per_snippet < num_frames <= covered + frames_per_snippet:
        raise ValueError(
            f"{len(scores)} snippets of {frames_per_snippet} frames cover {covered} frames, which "
            f"doesn't fit num_frames={num_frames}: a difference of one snippet is allowed; "
            "check frames_per_snippet, and that scores and frames are of the same video"
        )
    # Where frames are missing the last snippet's index is exceeded: clamp to it.
    return scores[np.minimum(np.arange(num_frames) // frames_per_snippet, len(scores) - 1)]


def smooth(
    scores: ArrayLike, kind: Smoothing, k: int, *, edge: Edge = "shrink"
) -> NDArray[np.float64]:
    """Smooth one video's snippet scores, as PEL4VAD does at test time; off unless called.

    Parameters
    ----------
    scores : array_like, (T,)
        One score per snippet.
    kind : "fixed" or "slide"
        "fixed": every block of k snippets gets its mean. "slide": snippet t gets the mean of
        snippets t .. t + k - 1.
    k : int
        Number of snippets, at least 1; 1 changes nothing.
    edge : "shrink" or "zero"
        A block or window that reaches beyond the last snippet: "shrink" takes the mean of those
        that exist; "zero" counts the others as 0, which lowers the last scores as PEL4VAD's code
        does.

    Returns
    -------
    ndarray, (T,), float64

    Raises
    ------
    ValueError
        If an argument is not allowed.
    """
    scores = finite_vector("scores", scores)
    choice("kind", kind, get_args(Smoothing))
    choice("edge", edge, get_args(Edge))
    k = count("k", k)
    length = len(scores)
    start = np.arange(length)
    reach = min(k, length)  # there are no scores beyond
    if kind == "fixed":
        start = start // reach * reach
    stop = np.minimum(start + reach, length)
    # Sums per window, not differences of one running sum, which would lose digits.
    if kind == "fixed":
        sums = np.add.reduceat(scores, np.arange(0, length, reach))[start // reach]
    else:
        width = _summed_width(k, length)
        padded = np.concatenate([scores, np.zeros(width - 1)])
        sums = np.lib.stride_tricks.sliding_window_view(padded, width).sum(axis=1)
    return sums / (k if edge == "zero" else stop - start)


def _summed_width(k: int, length: int) -> int:
    """Shorten windows of k numbers that are 0 beyond ``length``, without changing a bit of sums.

    NumPy sums more than 128 numbers as two halves, cut at a multiple of 8. While the first half
    holds all scores, the second one is 0 and can be left out.
    """
    while k > 128 and (half := k // 2 - k // 2 % 8) > length:
        k = half
    return k


def finite_vector(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return ``values`` as a vector, or raise ValueError that says why it is none."""
    vector = _as_floats(name, values)
    if vector.ndim != 1 or len(vector) == 0:
        raise ValueError(
            f"{name} must be a vector with at least one entry; got shape {vector.shape}"
        )
    if not np.isfinite(vector).all():
        first = int(np.flatnonzero(~np.isfinite(vector))[0])
        raise ValueError(f"{name} must be finite; got {vector[first]} at entry {first}")
    return vector


def _as_floats(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        given: NDArray[Any] = np.asarray(values)
        numeric = given.dtype.kind in "fiub"
        if given.dtype.kind == "O":  # Python's own numbers, such as fractions
            numeric = all(isinstance(entry, numbers.Number) for entry in given.flat)
        if numeric:
            return given.astype(np.float64)
        problem = ""
    # Rows of several lengths, numbers beyond float64, tensors that NumPy can't read.
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        problem = f" ({' '.join(str(error).split())})"
    raise ValueError(f"{name} must be a vector of real numbers; got {shown(values)}{problem}")
