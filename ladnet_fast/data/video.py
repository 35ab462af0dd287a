"""What the readers of lists and manifests yield: a video, and where its features are."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal, get_args

from ladnet_fast.data._wording import give

#: Order of the first two axes of a feature file (a, b, D).
Axes = Literal["snippets,crops", "crops,snippets"]

KEY_SEPARATOR = "::"  # XD-Violence names contain "#", Windows paths ":", so neither could serve
FRAMES_PER_SNIPPET = 16
_NO_FILE = ("Cc", "Cs", "Zl", "Zp")  # control characters, halves of pairs, line separators


class DataError(ValueError):
    """The content of a user's file is not usable; the message names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class FeatureSource:
    """A file of snippet features, or one data set in an HDF5 file.

    Parameters
    ----------
    path : Path
        ``.npy``, ``.txt`` (rows of numbers) or ``.h5`` / ``.hdf5``.
    key : str or None
        Name of the data set; for HDF5 files only.
    """

    path: Path
    key: str | None = None

    @classmethod
    def parse(
        cls, source: FeatureSource | str | os.PathLike[str], base: Path | None = None
    ) -> FeatureSource:
        """Read ``"dir/x.npy"`` or ``"all.h5::key"``; relative paths start from ``base``."""
        if isinstance(source, FeatureSource):
            return source
        text, separator, key = os.fspath(source).partition(KEY_SEPARATOR)
        if not text or (separator and not key):
            raise ValueError(
                f"feature source must be 'path' or 'path{KEY_SEPARATOR}key', got {str(source)!r}"
            )
        path = Path(text)
        return cls(path if base is None else base / path, key or None)

    def __str__(self) -> str:
        return f"{self.path}{KEY_SEPARATOR}{self.key}" if self.key else str(self.path)


@dataclass(frozen=True, slots=True)
class Video:
    """One video of a data set: a bag of snippets with one label.

    Parameters
    ----------
    name : str
        Unique in its list; score files are named after it.
    features : tuple of FeatureSource
        One source per crop, each (T, D); or a single source of shape (T, crops, D) or
        (crops, T, D).
    label : int or None
        0 for normal, 1 for anomalous, None where it is not known: enough for scoring.
    classes : tuple of str
        Classes of anomaly; empty when normal or unknown. XD-Violence videos may have several.
    num_frames : int or None
        Length of the video itself in frames, if known.
    frames_per_snippet : int or None
        Frames that one row of features stands for. None: the rows share the video's frames
        evenly, as in the 32-segment C3D files.
    fold : int or None
        Fold of a cross-validation.
    frame_labels : Path or None
        Ground truth of this video: ``.npy`` or ``.txt`` with 0 or 1 for each frame.
    split : str or None
        Name of a split, such as ``"train"`` or ``"test"``.
    query : FeatureSource or None
        Features (T, Dq) of a second modality (audio) that asks the attention's questions.
    axes : "snippets,crops", "crops,snippets" or None
        Order of the first two axes of a source with three. None: by its shape, where that is
        certain; see `ladnet_fast.data.axes.crop_axis`.

    Raises
    ------
    ValueError
        If a field has a value outside its range.
    """

    name: str
    features: tuple[FeatureSource, ...]
    label: int | None
    classes: tuple[str, ...] = ()
    num_frames: int | None = None
    frames_per_snippet: int | None = FRAMES_PER_SNIPPET
    fold: int | None = None
    frame_labels: Path | None = None
    split: str | None = None
    query: FeatureSource | None = None
    axes: Axes | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("name of a video must not be empty")
        if not self.features:
            raise ValueError(f"{self.name}: features must name at least one file")
        check_axes(self.axes, owner=f"{self.name}: ")
        if self.label not in (0, 1, None):
            raise ValueError(
                f"{self.name}: label must be 0 (normal), 1 (anomalous) or None (not known), "
                f"got {self.label!r}"
            )
        for field in ("num_frames", "frames_per_snippet"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ValueError(f"{self.name}: {field} must be at least 1, got {value}")
        if self.label != 1 and self.classes:
            raise ValueError(
                f"{self.name}: only an anomalous video (label 1) has classes of anomaly, "
                f"got {list(self.classes)}"
            )

    @property
    def known_label(self) -> int:
        """The label, for what needs one; raises `DataError` where it is not known."""
        if self.label is None:
            raise DataError(
                f"{self.name}: its label is not known, which is enough for scoring only; fill the "
                "manifest's column label with 0 (normal) or 1 (anomalous); where it comes from a "
                f"list, {label_remedies()}"
            )
        return self.label

    @property
    def class_name(self) -> str | None:
        """Classes joined as XD-Violence writes them (``"B1-B2"``), or None."""
        return "-".join(self.classes) or None


def check_axes(axes: object, owner: str = "") -> None:
    """Raise ValueError that lists the orders if ``axes`` is none of them, nor None."""
    if axes is not None and axes not in get_args(Axes):
        raise ValueError(
            f"{owner}axes must be {' or '.join(get_args(Axes))}: the order of the "
            f"first two axes of a feature file (a, b, D); got {axes!r}"
        )


def label_remedies() -> str:
    """Say how labels are given where the names of a list don't tell them."""
    return (
        f"give {give('anomalous_names')} (all others are then normal), or "
        f"{give('normal_folders')} and {give('anomalous_folders')} where folders tell the label, "
        "or write a manifest with the column label"
    )


def check_name(name: str) -> None:
    """Refuse a name that can't be a file's, or that is another spelling of a file's name.

    Score files are named after videos: ``./x``, ``x`` and ``x/`` would be one file.
    """
    if not name:
        raise ValueError("name of a video must not be empty")
    control = next((c for c in name if unicodedata.category(c) in _NO_FILE), None)
    parts = PurePath(name).parts
    if control is not None:
        problem = f"the character {control!r} can't be in a file's name"
    elif PurePath(name).is_absolute() or ".." in parts:
        problem = "files named after it would leave their folder"
    elif name != name.strip() or any(part != part.rstrip(" .") for part in parts[:-1]):
        problem = "blanks at its ends, or a folder that ends in a dot or blank, get lost in files"
    elif name != "/".join(parts):
        problem = (
            f"its files would be those of its simplest form, {'/'.join(parts) or '(nothing)'!r}"
        )
    else:
        return
    raise ValueError(f"video name {name!r} can't name a file: {problem}; rename the video")


def require_videos(videos: Sequence[Video]) -> None:
    """Refuse an empty list, which would otherwise fail far from its cause."""
    if len(videos) == 0:
        raise ValueError("videos is empty: read a manifest or list that names at least one video")


def require_unique_names(videos: Sequence[Video]) -> None:
    """Refuse names that can't be files', or two videos of one: their scores would be one file."""
    seen: set[str] = set()
    for video in videos:
        check_name(video.name)
        if video.name in seen:
            raise ValueError(f"videos has two videos named {video.name!r}; names must be unique")
        seen.add(video.name)
