"""From frames to the crops that I3D sees: resizing and cutting, defined exactly."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ladnet_fast.video.i3d import CROP_SIZE

SHORT_SIDE = 256
CROPS = (1, 5, 10)

CropCount = Literal[1, 5, 10]
Frame = npt.NDArray[np.uint8]


def require_crops(crops: int) -> None:
    """Raise ValueError unless ``crops`` is 1, 5 or 10."""
    if crops not in CROPS:
        raise ValueError(
            f"crops must be 1 (centre), 5 (centre and corners) or 10 (with mirror images), "
            f"got {crops!r}"
        )


def resize(frame: Frame, size: tuple[int, int]) -> Frame:
    """Resize a frame to ``size`` by antialiased bilinear interpolation.

    Pixel centres are at half-integers (``align_corners=False``). Along each axis, output pixel i
    is the average of the inputs with weights ``max(0, 1 - |x - c| / r)``, normalised to sum 1,
    where c = (i + 0.5) * old / new and r = max(1, old / new); so a reduction averages over all
    inputs and aliases nothing. Results are rounded to uint8. This is what PyTorch's
    ``interpolate(mode="bilinear", antialias=True)`` and Pillow's BILINEAR do, up to 1 of 255.

    Parameters
    ----------
    frame : ndarray
        (H, W, 3) uint8.
    size : (height, width)
        Size of the result.

    Returns
    -------
    ndarray
        (height, width, 3) uint8; ``frame`` itself where it has that size already.
    """
    if frame.shape[:2] == tuple(size):
        return frame
    image = torch.from_numpy(frame).permute(2, 0, 1).unsqueeze(0)  # (1, 3, H, W)
    resized = F.interpolate(image, size=tuple(size), mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0).contiguous().numpy()


def short_side_size(height: int, width: int, short: int = SHORT_SIDE) -> tuple[int, int]:
    """Return the size whose short side is ``short`` and whose aspect ratio is kept.

    The long side is ``long * short / min(height, width)`` rounded to the nearest integer, halves
    up.
    """
    side = min(height, width)
    return (
        (2 * height * short + side) // (2 * side),
        (2 * width * short + side) // (2 * side),
    )


def cut_crops(frames: Tensor, crops: int, size: int = CROP_SIZE) -> list[Tensor]:
    """Cut crops of ``size`` x ``size`` from frames (T, H, W, 3).

    The order is that of the published features: 0 the centre, whose upper left corner is
    ((H - size) // 2, (W - size) // 2); 1 .. 4 upper left, upper right, lower left, lower right;
    5 .. 9 the mirror images (left to right) of 0 .. 4.

    Parameters
    ----------
    frames : Tensor
        (T, H, W, 3), H and W at least ``size``.
    crops : int
        1, 5 or 10.
    size : int
        Height and width of each crop.

    Returns
    -------
    list of Tensor
        ``crops`` tensors (T, size, size, 3); views of ``frames`` up to crop 4.
    """
    require_crops(crops)
    bottom, right = frames.shape[1] - size, frames.shape[2] - size
    corners = [(bottom // 2, right // 2), (0, 0), (0, right), (bottom, 0), (bottom, right)]
    cut = [frames[:, y : y + size, x : x + size] for y, x in corners[: min(crops, 5)]]
    return cut + [crop.flip(2) for crop in cut] if crops == 10 else cut
