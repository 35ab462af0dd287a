"""Pictures of the demo: the score curves of a bag, and frames of a video side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .._extras import import_extra
from .._files import atomic_path
from ..engine import score_figure
from ..video.frames import Frame
from ..video.i3d import SNIPPET_FRAMES

#: Colours and lines of the curves, in order; the first is drawn by the package's own plot.
_STYLES = (("#1f5fa8", "-"), ("#8a8a8a", "-"), ("#c77700", "-"), ("#2f7d4f", "--"))


def save_bag_plot(
    path: Path, curves: Mapping[str, npt.NDArray[np.float32]], truth: npt.NDArray[np.uint8]
) -> None:
    """Write a ``.png`` of a bag's scores by every configuration, the foreign footage shaded.

    Parameters
    ----------
    path : Path
        File to write, atomically.
    curves : mapping of str to ndarray
        (T,) scores by the configuration's name.
    truth : ndarray
        (T,) of 0 and 1.
    """
    (first, scores), *others = curves.items()
    figure = score_figure(scores, ground_truth=np.repeat(truth, SNIPPET_FRAMES))
    (axes,) = figure.axes
    for index, (name, scores) in enumerate(others, start=1):
        colour, line = _STYLES[index % len(_STYLES)]
        axes.stairs(
            scores,
            np.arange(len(scores) + 1) * SNIPPET_FRAMES,
            baseline=None,
            color=colour,
            linestyle=line,
            linewidth=1.2,
            label=name,
        )
    shown = {"score": first, "ground truth": "foreign footage"}
    handles, labels = axes.get_legend_handles_labels()
    entries = {str(label): handle for label, handle in zip(labels, handles, strict=True)}
    if "ground truth" in entries:
        entries["ground truth"] = entries.pop("ground truth")  # after the curves
    axes.legend(
        list(entries.values()),
        [shown.get(label, label) for label in entries],
        loc="lower right",
        bbox_to_anchor=(1, 1),  # above the axes: no curve hides behind it
        ncols=len(entries),
        fontsize=8,
        frameon=False,
    )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")


def save_storyboard(path: Path, frames: Frame) -> None:
    """Write frames (N, h, w, 3) side by side as a ``.png``, atomically."""
    image = import_extra("matplotlib.image", extra="tools", purpose="write pictures")
    with atomic_path(path) as temporary:
        image.imsave(temporary, np.concatenate(list(frames), axis=1), format="png")
