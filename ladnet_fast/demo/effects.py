"""Effects that make single snippets less telling: cross-fades, and disturbances of one snippet.

Both work on pixels, before features are computed, so that the features are those of real frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ..video.frames import Frame
from ..video.i3d import SNIPPET_FRAMES
from .augment import TAKE_SNIPPETS, Take, plan_takes

#: Snippets of a cross-fade. Even, so that its middle lies between two snippets.
FADE_SNIPPETS = 6

Kind = Literal["blur", "dark", "flash", "freeze"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_DARK, _FLASH, _BLUR = 0.2, 0.3, 14


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What happens to one snippet of a take: ``position`` is the snippet's place in it."""

    take: int
    position: int
    kind: Kind


def plan_disturbances(count: int, num_takes: int, seed: int) -> list[Disturbance]:
    """Draw ``count`` disturbances, spread evenly over takes and kinds.

    The plan is a pure function of the arguments.
    """
    rng = np.random.default_rng(seed)
    takes = rng.permutation(num_takes)
    return [
        Disturbance(
            take=int(takes[index % num_takes]),
            position=int(rng.integers(TAKE_SNIPPETS)),
            kind=KINDS[index % len(KINDS)],
        )
        for index in range(count)
    ]


def plan_fades(
    count: int, before: list[int], after: list[int], seed: int
) -> list[tuple[Take, Take]]:
    """Draw the two takes of each of ``count`` cross-fades.

    Parameters
    ----------
    count : int
        How many.
    before, after : list of int
        The segments that may be shown before and after the fade, each of its own video. Where both
        are the same list of two or more, a fade leads from one segment to another.
    seed : int
        The plan is a pure function of the arguments.
    """
    starts = plan_takes(count, len(before), seed)
    ends = plan_takes(count, len(after), seed + 1)
    plans = []
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        first = index % len(before)
        last = index % len(after)
        if before == after:  # another segment: the distance grows with every round
            distance = 1 + index // len(after) % max(1, len(after) - 1)
            last = (first + distance) % len(after)
        plans.append((replace(start, segment=before[first]), replace(end, segment=after[last])))
    return plans


def fade_weights(snippets: int = FADE_SNIPPETS) -> npt.NDArray[np.float32]:
    """Return the second picture's weight in every frame: it rises evenly from 0 to 1."""
    frames = snippets * SNIPPET_FRAMES
    return (np.arange(frames, dtype=np.float32) + np.float32(0.5)) / np.float32(frames)


def fade_truth(*, enters: bool, snippets: int = FADE_SNIPPETS) -> npt.NDArray[np.uint8]:
    """Return which snippets of a fade count as foreign: those of weight 0.5 or more.

    With an even number of snippets the weight passes 0.5 between two of them, so all frames of a
    snippet have one label.
    """
    weights = fade_weights(snippets).reshape(snippets, SNIPPET_FRAMES)
    foreign = weights if enters else 1 - weights
    return np.asarray((foreign >= 0.5).all(axis=1), np.uint8)


def cross_fade(before: Frame, after: Frame) -> Frame:
    """Mix two stretches of frames (16 n, h, w, 3) uint8, frame by frame."""
    weights = fade_weights(len(before) // SNIPPET_FRAMES)[:, None, None, None]
    mixed = np.empty_like(before)
    for index in range(0, len(before), SNIPPET_FRAMES):  # a snippet at a time: floats are large
        part = slice(index, index + SNIPPET_FRAMES)
        weight = weights[part]
        mixed[part] = np.rint(before[part] * (1 - weight) + after[part] * weight)
    return mixed


def disturb(frames: Frame, kind: Kind) -> Frame:
    """Disturb one snippet, (16, h, w, 3) uint8: blurred, dark, overexposed or standing still."""
    if kind == "freeze":
        middle = len(frames) // 2
        return np.repeat(frames[middle : middle + 1], len(frames), axis=0)
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    if kind == "dark":
        pixels = pixels * _DARK
    elif kind == "flash":
        pixels = 255 - (255 - pixels) * _FLASH
    else:
        size = pixels.shape[2:]
        small = F.interpolate(pixels, (_BLUR, _BLUR), mode="area")
        pixels = F.interpolate(small, size, mode="bilinear")
    shown = pixels.round_().clamp_(0, 255).to(torch.uint8)
    return shown.permute(0, 2, 3, 1).contiguous().numpy()
