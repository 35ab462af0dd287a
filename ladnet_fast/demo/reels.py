"""Footage sorted by where it may occur: by split, and by its part in a bag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .features import Fades, Takes
from .footage import is_held_out

TRAIN, HELD_OUT = "train", "held-out"

#: A video's name and a segment of it.
Origin = tuple[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Reel:
    """Takes that bags are cut from.

    Attributes
    ----------
    features : ndarray
        (takes, snippets, D) float32.
    origins : list of (str, int)
        For every take the video's name and the segment of it that is shown.
    disturbed : ndarray
        (n, D) float32: single snippets of these takes, disturbed.
    places : ndarray
        (n, 2) int64: the take of the reel, and the snippet in it, that each of them replaces.
    """

    features: npt.NDArray[np.float32]
    origins: list[Origin]
    disturbed: npt.NDArray[np.float32]
    places: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class FadeReel:
    """Cross-fades, (fades, snippets, D) float32, and the two segments that each shows."""

    features: npt.NDArray[np.float32]
    origins: list[tuple[Origin, Origin]]


@dataclass(frozen=True, slots=True, eq=False)
class Stock:
    """All that the bags of one split are cut from.

    Attributes
    ----------
    background, foreign : Reel
        Takes.
    between : FadeReel
        Fades from background to background.
    entering, leaving : FadeReel
        Fades from background to foreign footage and back.
    """

    background: Reel
    foreign: Reel
    between: FadeReel
    entering: FadeReel
    leaving: FadeReel


def background_segments(num_segments: int) -> dict[str, list[int]]:
    """Divide the background's segments between the splits."""
    numbers = range(num_segments)
    return {
        TRAIN: [number for number in numbers if not is_held_out(number)],
        HELD_OUT: [number for number in numbers if is_held_out(number)],
    }


def make_stock(split: str, takes: Sequence[Takes], fades: Sequence[Fades]) -> Stock:
    """Gather what a split may show.

    Parameters
    ----------
    split : {"train", "held-out"}
        The background's segments are divided between the splits; the held-out foreign video
        belongs to the held-out split alone, the other foreign ones to training alone.
    takes : sequence of Takes
        Of all videos.
    fades : sequence of Fades
        Of any videos; those that show anything of another split are left out.
    """
    role = "foreign" if split == TRAIN else "held-out foreign"
    background = [entry for entry in takes if entry.clip.role == "background"]
    foreign = [entry for entry in takes if entry.clip.role == role]
    dimension = takes[0].features.shape[2]

    def chosen(before: str, after: str) -> FadeReel:
        features, origins = [], []
        for entry in fades:
            if (entry.before.role, entry.after.role) != (before, after):
                continue
            for row, (one, other) in zip(entry.features, entry.segments.tolist(), strict=True):
                shown = ((entry.before, one), (entry.after, other))
                if all(_belongs(clip.role, segment, split) for clip, segment in shown):
                    features.append(row)
                    origins.append(((entry.before.name, one), (entry.after.name, other)))
        rows = np.stack(features) if features else np.empty((0, 0, dimension), np.float32)
        return FadeReel(rows, origins)

    return Stock(
        background=_reel(background, split),
        foreign=_reel(foreign, split),
        between=chosen("background", "background"),
        entering=chosen("background", role),
        leaving=chosen(role, "background"),
    )


def _reel(entries: Sequence[Takes], split: str) -> Reel:
    """Join the takes of several videos, as far as their segments belong to the split."""
    features: list[npt.NDArray[np.float32]] = []
    disturbed: list[npt.NDArray[np.float32]] = []
    origins: list[Origin] = []
    places: list[tuple[int, int]] = []
    for entry in entries:
        kept: dict[int, int] = {}
        for index, segment in enumerate(entry.segments.tolist()):
            if _belongs(entry.clip.role, segment, split):
                kept[index] = len(features)
                features.append(entry.features[index])
                origins.append((entry.clip.name, segment))
        for row, (take, position) in zip(entry.disturbed, entry.places.tolist(), strict=True):
            if take in kept:
                disturbed.append(row)
                places.append((kept[take], position))
    takes = np.stack(features)
    return Reel(
        takes,
        origins,
        np.array(disturbed, np.float32).reshape(-1, takes.shape[2]),
        np.array(places, np.int64).reshape(-1, 2),
    )


def _belongs(role: str, segment: int, split: str) -> bool:
    if role == "background":
        return is_held_out(segment) == (split == HELD_OUT)
    return (role == "foreign") == (split == TRAIN)
