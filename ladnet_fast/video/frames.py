"""Resizing and cropping frames, defined exactly."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from .._values import as_whole, count, shown
from .i3d import CROP_SIZE

SHORT_SIDE = 256
CROPS = (1, 5, 10)

CropCount = Literal[1, 5, 10]
Frame = npt.NDArray[np.uint8]


def require_crops(crops: int) -> int:
    """Return ``crops`` if it is 1, 5 or 10, else raise ValueError."""
    number = as_whole(crops)
    if number is None or number not in CROPS:
        raise ValueError(
            f"crops must be 1 (centre), 5 (centre and corners) or 10 (with mirror images); "
            f"got {shown(crops)}"
        )
    return number


def require_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return ``size`` if it is (height, width), both at least 1, else raise ValueError."""
    given = [as_whole(side) for side in size] if isinstance(size, (tuple, list)) else []
    height, width = given if len(given) == 2 else (None, None)
    if height is None or width is None or min(height, width) < 1:
        raise ValueError(
            f"size must be (height, width), both at least 1 and whole numbers; got {shown(size)}"
        )
    return height, width


def resize(
    frame: Frame, size: tuple[int, int], filter: Literal["bilinear", "bicubic"] = "bilinear"
) -> Frame:
    """Resize a frame to ``size`` by antialiased interpolation.

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
    filter : "bilinear" or "bicubic"
        Bicubic: Pillow's BICUBIC, with Keys' cubic of a = -0.5 and twice the reach: first along
        the rows, rounded to uint8, then along the columns.

    Returns
    -------
    ndarray
        (height, width, 3) uint8; ``frame`` itself where it has that size already.
    """
    size = require_size(size)
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3:
        raise ValueError(f"frame must be an array (H, W, 3) of uint8; got {shown(frame)}")
    if frame.shape[:2] == size:
        return frame
    if filter == "bicubic":
        return _bicubic(frame, size)
    # (1, 3, H, W) with channels last, and with strides that say so: the result has them too then,
    # and needs no transposed copy, which took longer than resizing.
    image = torch.from_numpy(frame)[None].permute(0, 3, 1, 2)
    resized = F.interpolate(image, size=size, mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0).contiguous().numpy()


def _bicubic(frame: Frame, size: tuple[int, int]) -> Frame:
    pixels = torch.from_numpy(frame).float()  # (H, W, 3)
    for axis in (1, 0):
        if pixels.shape[axis] != size[axis]:
            weights = torch.from_numpy(_cubic_weights(pixels.shape[axis], size[axis]))
            pixels = torch.tensordot(weights, pixels, ([1], [axis])).movedim(0, axis)
            # Round half up, and clip to 0 .. 255 after each of the two steps, as Pillow does.
            pixels = (pixels + 0.5).floor().clamp(0, 255)
    return pixels.to(torch.uint8).contiguous().numpy()


@lru_cache(maxsize=32)
def _cubic_weights(old: int, new: int) -> npt.NDArray[np.float32]:
    """Return the matrix (new, old) that resizes one axis."""
    scale = old / new
    reach = max(scale, 1.0)
    centre = (np.arange(new) + 0.5)[:, None] * scale
    distance = np.abs(np.arange(old) + 0.5 - centre) / reach
    inner = (1.5 * distance - 2.5) * distance**2 + 1
    outer = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = np.where(distance < 1, inner, np.where(distance < 2, outer, 0))
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def short_side_size(height: int, width: int, short: int = SHORT_SIDE) -> tuple[int, int]:
    """Return the size whose short side is ``short`` and whose aspect ratio is kept.

    The long side is ``long * short / min(height, width)`` rounded to the nearest integer, halves
    up.
    """
    height, width, short = count("height", height), count("width", width), count("short", short)
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
    crops, size = require_crops(crops), count("size", size)
    if not isinstance(frames, Tensor) or frames.dim() != 4 or min(frames.shape[1:3]) < size:
        raise ValueError(
            f"frames must be a tensor (T, H, W, 3) with H and W at least size = {size}; "
            f"got {tuple(frames.shape) if isinstance(frames, Tensor) else shown(frames)}"
        )
    bottom, right = frames.shape[1] - size, frames.shape[2] - size
    corners = [(bottom // 2, right // 2), (0, 0), (0, right), (bottom, 0), (bottom, right)]
    cut = [frames[:, y : y + size, x : x + size] for y, x in corners[: min(crops, 5)]]
    return cut + [crop.flip(2) for crop in cut] if crops == 10 else cut
