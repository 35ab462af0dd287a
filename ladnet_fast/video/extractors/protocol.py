"""What extraction needs of an extractor: any class that has it can stand in for I3D."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeGuard

import numpy as np
import numpy.typing as npt

from ..frames import short_side_size

Clips = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.float32]


class Preparation(NamedTuple):
    """How frames are made ready for an extractor: resized to a short side, then cut to a square.

    Attributes
    ----------
    short_side : int
        Pixels of the short side after resizing; the aspect ratio is kept.
    crop : int
        Height and width of the crops, at most ``short_side``.
    filter : str
        Of resizing: ``"bilinear"`` or ``"bicubic"``, antialiased both.
    long_side : str
        What becomes of the long side, whose exact length is no whole number: ``"nearest"``, halves
        up, or ``"down"``.
    """

    short_side: int
    crop: int
    filter: Literal["bilinear", "bicubic"] = "bilinear"
    long_side: Literal["nearest", "down"] = "nearest"

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Return the size, (height, width), to which frames of this size are resized."""
        if self.long_side == "nearest":
            return short_side_size(height, width, self.short_side)
        side = min(height, width)
        return height * self.short_side // side, width * self.short_side // side


class Extractor(Protocol):
    """Describes snippets of a video by one row of numbers each.

    Decoding, resizing, cropping, files, records and the manifest are the caller's. The extractor
    sees uint8 RGB as it is; scaling it is the extractor's own. One thread calls it at a time, not
    always the thread that made it.

    Attributes
    ----------
    name : str
        One word, for records and messages, for example ``"i3d"``.
    width : int
        Numbers of a row.
    frames_per_snippet : int
        Consecutive frames that one row describes.
    preparation : Preparation
        How frames must be prepared.
    settings : mapping
        What its numbers depend on, of JSON types: at least ``network`` (its name),
        ``weights`` (a digest of them) and ``precision`` (``"float32"``, ``"bfloat16"``,
        ``"int8"``), and ``engine`` where another than PyTorch computes. It is remembered beside the
        features, and features of other settings are never mixed in. Reading it must not need the
        weights to be loaded where their digest is known beforehand.
    device : str
        Where it computes: ``"cpu"``, ``"cuda:0"`` ...; read after `load`.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def width(self) -> int: ...  # noqa: D102

    @property
    def frames_per_snippet(self) -> int: ...  # noqa: D102

    @property
    def preparation(self) -> Preparation: ...  # noqa: D102

    @property
    def settings(self) -> Mapping[str, Any]: ...  # noqa: D102

    @property
    def device(self) -> str: ...  # noqa: D102

    def load(self) -> None:
        """Make ready: read the weights, build the network.

        Called before the first video that needs it, and not at all where all features are there. A
        second call does nothing.
        """
        ...

    def __call__(self, clips: Clips) -> Rows:
        """Map (N, ``frames_per_snippet``, H, W, 3) uint8 RGB to (N, ``width``) float32.

        H and W are ``preparation.crop`` where the frames come from a video file. ``clips`` may be
        read-only.
        """
        ...


class PlacedExtractor(Extractor, Protocol):
    """An extractor that keeps something beside the features, or learns from the videos at hand."""

    def place(self, folder: Path, videos: Sequence[Path]) -> None:
        """Hear where the features go and of which videos, before ``settings`` are read.

        Nothing may be written or computed yet: that is for `load`, after which ``settings`` are
        read again.
        """
        ...


_ABSENT = object()
_NEEDED = ("name", "width", "frames_per_snippet", "preparation", "settings", "device", "load")


def is_extractor(value: object) -> TypeGuard[Extractor]:
    """Tell whether ``value`` has all that an `Extractor` needs; no property of it is evaluated."""
    return callable(value) and not isinstance(value, type) and not missing(value)


def is_placed(value: Extractor) -> TypeGuard[PlacedExtractor]:
    """Tell whether an extractor wants to know where its features go."""
    return callable(getattr(type(value), "place", None))


def missing(value: object) -> list[str]:
    """Return the attributes of an `Extractor` that ``value`` lacks."""
    return [name for name in _NEEDED if inspect.getattr_static(value, name, _ABSENT) is _ABSENT]


def remembered(extractor: Extractor) -> dict[str, Any]:
    """Return what the records of features say of their extractor.

    I3D's snippet length and preparation are the default, and left out.
    """
    settings = dict(extractor.settings)
    if extractor.frames_per_snippet != 16:
        settings["frames_per_snippet"] = extractor.frames_per_snippet
    prepared = Preparation(*extractor.preparation)
    if prepared != Preparation(256, 224):
        settings["short_side"], settings["crop"] = prepared[:2]
    if prepared[2:] != Preparation(256, 224)[2:]:
        settings["filter"], settings["long_side"] = prepared[2:]
    return settings
