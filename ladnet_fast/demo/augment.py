"""Takes: short pieces of footage, each shown in one randomly changed way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ..video.frames import Frame
from ..video.i3d import CROP_SIZE, SNIPPET_FRAMES

#: Snippets of a take. A segment holds two at its own speed; a take plays it to and fro.
TAKE_SNIPPETS = 4

SPEEDS = (1.0, 1.5, 2.0)
SCALES = (0.75, 1.0)
BRIGHTNESS = (-24.0, 24.0)
CONTRAST = (0.75, 1.25)


@dataclass(frozen=True, slots=True)
class Take:
    """One way to show one segment.

    Attributes
    ----------
    segment : int
        Index of the segment.
    start : float
        In [0, 1): where in the segment's loop (to its end and back) the take begins.
    speed : float
        Frames of the video per frame shown.
    mirror : bool
        Left and right exchanged.
    scale : float
        Side of the square crop, as a part of the frame's short side.
    x, y : float
        Place of the crop in [0, 1]: from the left, from the top.
    contrast, brightness : float
        v becomes (v - 128) contrast + 128 + brightness, cut to 0 .. 255.
    """

    segment: int
    start: float
    speed: float
    mirror: bool
    scale: float
    x: float
    y: float
    contrast: float
    brightness: float


def plan_takes(num_takes: int, num_segments: int, seed: int) -> list[Take]:
    """Draw ``num_takes`` takes, spread evenly over the segments.

    Parameters
    ----------
    num_takes, num_segments : int
        With fewer takes than segments, some segments are left out.
    seed : int
        The plan is a pure function of the arguments.
    """
    rng = np.random.default_rng(seed)
    takes = []
    for index in range(num_takes):
        segment = index % num_segments
        if num_takes < num_segments:
            segment = index * num_segments // num_takes
        takes.append(
            Take(
                segment=segment,
                start=float(rng.random()),
                speed=float(rng.choice(SPEEDS)),
                mirror=bool(rng.random() < 0.5),
                scale=float(rng.uniform(*SCALES)),
                x=float(rng.random()),
                y=float(rng.random()),
                contrast=float(rng.uniform(*CONTRAST)),
                brightness=float(rng.uniform(*BRIGHTNESS)),
            )
        )
    return takes


def frame_indices(take: Take, start: int, stop: int, count: int) -> npt.NDArray[np.int64]:
    """Return which ``count`` frames of the segment [start, stop) a take shows.

    The segment is played forward and backward in turn, so that no cut falls inside a take.
    """
    period = max(1, 2 * (stop - start) - 2)  # n frames there, n - 2 back
    phase = np.floor(take.start * period + take.speed * np.arange(count)).astype(np.int64) % period
    return start + np.minimum(phase, period - phase)


def render(
    footage: Frame,
    take: Take,
    segment: tuple[int, int],
    *,
    snippets: int = TAKE_SNIPPETS,
    size: int = CROP_SIZE,
) -> Frame:
    """Show a take.

    Parameters
    ----------
    footage : ndarray
        (N, h, w, 3) uint8.
    take : Take
        What to show.
    segment : (int, int)
        First frame and end of its segment.
    snippets : int
        Length, in snippets of 16 frames.
    size : int
        Height and width of the result.

    Returns
    -------
    ndarray
        (16 snippets, size, size, 3) uint8.
    """
    indices = frame_indices(take, *segment, snippets * SNIPPET_FRAMES)
    height, width = footage.shape[1:3]
    side = max(1, round(take.scale * min(height, width)))
    top, left = round(take.y * (height - side)), round(take.x * (width - side))
    crop = footage[indices, top : top + side, left : left + side]
    pixels = torch.from_numpy(crop).permute(0, 3, 1, 2).float()  # [T, 3, side, side]
    if take.mirror:
        pixels = pixels.flip(3)
    pixels = F.interpolate(pixels, (size, size), mode="bilinear", antialias=True)
    pixels = (pixels - 128) * take.contrast + 128 + take.brightness
    shown = pixels.round_().clamp_(0, 255).to(torch.uint8)
    return shown.permute(0, 2, 3, 1).contiguous().numpy()
