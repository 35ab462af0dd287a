"""A picture per video: the score curve over time, anomalous frames shaded."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .._extras import import_extra
from .._files import atomic_path
from .._printable import printable
from .._runs import runs_of
from .._times import clock, snippet_borders, time_ticks
from ..metrics import frame_scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CURVE, _SHADE, _THRESHOLD = "#1f5fa8", "#d9483b", "#777777"


def score_figure(
    scores: ArrayLike,
    *,
    title: str = "",
    frames_per_snippet: int | None = 16,
    num_frames: int | None = None,
    ground_truth: ArrayLike | None = None,
    fps: float | None = None,
    threshold: float | None = None,
) -> Figure:
    """Draw one video's scores.

    Parameters
    ----------
    scores : array_like, (T,)
        One score per snippet, in [0, 1].
    title : str
        Above the picture.
    frames_per_snippet : int or None
        Frames of a snippet; None: the snippets share ``num_frames`` evenly.
    num_frames : int, optional
        Length of the video, where known.
    ground_truth : array_like, (F,), optional
        1 where a frame is anomalous; F is then the length.
    fps : float, optional
        Frames per second: the axis shows h:mm:ss instead of frame numbers.
    threshold : float, optional
        Drawn as a horizontal line.

    Returns
    -------
    matplotlib.figure.Figure
        Without pyplot's global state: nothing to close, and safe in threads.

    Raises
    ------
    ValueError
        If lengths don't fit one another, ``fps`` isn't positive and finite, or ``threshold`` isn't
        finite.
    MissingExtraError
        If matplotlib is not installed (extra "tools").
    """
    figure_module = import_extra("matplotlib.figure", extra="tools", purpose="draw plots")
    if fps is not None and not 0 < fps < math.inf:
        raise ValueError(f"fps must be greater than 0 and finite; got {fps}")
    if threshold is not None and not math.isfinite(threshold):
        raise ValueError(f"threshold must be a finite number; got {threshold}")
    truth = None if ground_truth is None else np.asarray(ground_truth).astype(bool)
    length = num_frames if truth is None else len(truth)
    if length is None and frames_per_snippet is None:
        length = len(np.atleast_1d(np.asarray(scores)))  # the snippets themselves are the unit
    frames = len(frame_scores(scores, frames_per_snippet, length))  # checks that lengths fit
    curve = np.asarray(scores, np.float64)
    borders = snippet_borders(len(curve), frames_per_snippet, frames)

    figure: Figure = figure_module.Figure(figsize=(9, 2.8), layout="constrained")
    axes = figure.subplots()
    unit, axis = (1.0, "frame") if fps is None else (1 / fps, "time [h:mm:ss]")
    axes.stairs(curve, borders * unit, color=_CURVE, linewidth=1.4, baseline=None, label="score")
    if truth is not None:
        for n, (start, stop) in enumerate(runs_of(truth)):
            axes.axvspan(
                start * unit, stop * unit, color=_SHADE, alpha=0.22, linewidth=0,
                label="ground truth" if n == 0 else None,
            )  # fmt: skip
    if threshold is not None:
        axes.axhline(threshold, color=_THRESHOLD, linewidth=0.9, linestyle="--", label="threshold")
    axes.set(xlim=(0, frames * unit), ylim=(-0.02, 1.02), xlabel=axis, ylabel="anomaly score")
    # A name is text, whatever it holds: "$" begins no formula.
    axes.set_title(printable(title, keep="\n"), fontsize=10, parse_math=False, usetex=False)
    if fps is not None:
        ticks = time_ticks(frames / fps)
        short = any(tick % 1 for tick in ticks)  # a video of a few seconds
        axes.set_xticks(ticks, [clock(tick, decimals=int(short)) for tick in ticks])
    axes.grid(alpha=0.25)
    axes.legend(loc="upper right", fontsize=8, framealpha=0.85)
    return figure


def save_plot(
    path: str | os.PathLike[str],
    scores: ArrayLike,
    *,
    title: str = "",
    frames_per_snippet: int | None = 16,
    num_frames: int | None = None,
    ground_truth: ArrayLike | None = None,
    fps: float | None = None,
    threshold: float | None = None,
) -> Path:
    """Write `score_figure` atomically to a ``.png``, ``.svg`` or ``.pdf`` file."""
    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise ValueError(f"path must end in .png, .svg or .pdf; got {path}")
    figure = score_figure(
        scores,
        title=title,
        frames_per_snippet=frames_per_snippet,
        num_frames=num_frames,
        ground_truth=ground_truth,
        fps=fps,
        threshold=threshold,
    )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format=path.suffix[1:].lower())
    return path
