"""Pictures of the demo: the score curves of a bag, and frames of a video side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ladnet_fast._extras import import_extra
from ladnet_fast._files import atomic_path
from ladnet_fast.engine import score_figure
from ladnet_fast.video.frames import Frame
from ladnet_fast.video.i3d import SNIPPET_FRAMES

_WITHOUT = "#8a8a8a"
_NAMES = {"score": "with DDL", "ground truth": "foreign footage"}


def save_bag_plot(
    path: Path,
    with_ddl: npt.NDArray[np.float32],
    without_ddl: npt.NDArray[np.float32],
    truth: npt.NDArray[np.uint8],
) -> None:
    """Write a ``.png`` of a bag's scores with and without DDL, the foreign footage shaded.

    Parameters
    ----------
    path : Path
        File to write, atomically.
    with_ddl, without_ddl : ndarray
        (T,) scores.
    truth : ndarray
        (T,) of 0 and 1.
    """
    figure = score_figure(with_ddl, ground_truth=np.repeat(truth, SNIPPET_FRAMES))
    (axes,) = figure.axes
    axes.stairs(
        without_ddl,
        np.arange(len(without_ddl) + 1) * SNIPPET_FRAMES,
        baseline=None,
        color=_WITHOUT,
        linewidth=1,
        label="without DDL",
    )
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles,
        [_NAMES.get(label, label) for label in labels],
        loc="lower right",
        bbox_to_anchor=(1, 1),  # above the axes: no curve hides behind it
        ncols=len(labels),
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
