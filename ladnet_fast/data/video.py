"""A video as lists and manifests describe it, and where its features are."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import get_args

import numpy as np

from .._choices import Axes
from .._values import as_real, count, path, sequence, shown, texts
from .._wording import give

KEY_SEPARATOR = "::"  # XD-Violence names contain "#", Windows paths ":", so neither could serve
FRAMES_PER_SNIPPET = 16
_NO_FILE = ("Cc", "Cs", "Zl", "Zp")  # control characters, lone surrogates, line separators


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

    def __post_init__(self) -> None:
        # Text becomes a path; this is how a slot of a frozen class is set.
        object.__setattr__(self, "path", path("path of a feature source", self.path))
        if self.key is not None and not isinstance(self.key, str):
            raise ValueError(
                f"key of a feature source must be text, or None; got {shown(self.key)}"
            )

    @classmethod
    def parse(
        cls, source: FeatureSource | str | os.PathLike[str], base: Path | None = None
    ) -> FeatureSource:
        """Read ``"dir/x.npy"`` or ``"all.h5::key"``; relative paths start from ``base``."""
        if isinstance(source, FeatureSource):
            return source
        if not isinstance(source, str):
            source = path("source", source)
        text, separator, key = os.fspath(source).partition(KEY_SEPARATOR)
        if not text or (separator and not key):
            raise ValueError(
                f"feature source must be 'path' or 'path{KEY_SEPARATOR}key'; got {str(source)!r}"
            )
        return cls(Path(text) if base is None else base / text, key or None)

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
        Features (T, Dq) of a second modality (audio), from which attention makes its queries.
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
        if not isinstance(self.name, str):
            raise ValueError(f"name of a video must be text; got {shown(self.name)}")
        if not self.name:
            raise ValueError("name of a video must not be empty; got ''")
        self._check_files()
        check_axes(self.axes, owner=f"{self.name}: ")
        if self.label is not None:
            label = int(self.label) if isinstance(self.label, (bool, np.bool_)) else self.label
            if as_real(label) not in (0, 1):
                raise ValueError(
                    f"{self.name}: label must be 0 (normal), 1 (anomalous) or None (not known); "
                    f"got {shown(self.label)}"
                )
            self._set("label", int(label))
        for field, least in (("num_frames", 1), ("frames_per_snippet", 1), ("fold", None)):
            value = getattr(self, field)
            if value is not None:
                self._set(field, count(f"{self.name}: {field}", value, least=least))
        texts(f"{self.name}: classes", self.classes, "names of classes")
        if self.split is not None and not isinstance(self.split, str):
            raise ValueError(f"{self.name}: split must be text, or None; got {shown(self.split)}")
        if self.label != 1 and self.classes:
            raise ValueError(
                f"{self.name}: classes must be empty unless the video is anomalous (label 1); "
                f"got {list(self.classes)}"
            )

    def _check_files(self) -> None:
        wanted = "sources (FeatureSource), one for each crop"
        features = sequence(f"{self.name}: features", self.features, wanted)
        if len(features) == 0:
            raise ValueError(
                f"{self.name}: features must name at least one file; got {shown(self.features)}"
            )
        queries = () if self.query is None else (self.query,)
        for field, sources in (("features", features), ("query", queries)):
            for source in sources:
                if not isinstance(source, FeatureSource):
                    raise ValueError(
                        f"{self.name}: {field} must be made with FeatureSource(path) or "
                        f"FeatureSource.parse(text); got {shown(source)}"
                    )
        if self.frame_labels is not None:
            self._set("frame_labels", path(f"{self.name}: frame_labels", self.frame_labels))

    def _set(self, field: str, value: object) -> None:
        """Store a field after its conversion; allowed in a frozen class while it is being made."""
        object.__setattr__(self, field, value)

    @property
    def known_label(self) -> int:
        """The label; `DataError` where it is not known."""
        if self.label is None:
            raise DataError(
                f"{self.name}: its label is not known, and only scoring works without one; fill "
                "the manifest's column label with 0 (normal) or 1 (anomalous); where it comes from "
                f"a list, {label_remedies()}"
            )
        return self.label

    @property
    def class_name(self) -> str | None:
        """Classes joined as XD-Violence writes them (``"B1-B2"``), or None."""
        return "-".join(self.classes) or None


def files_of(videos: Iterable[Video]) -> list[Path]:
    """Return every file that videos are read from: features, queries and frame labels."""
    files: list[Path] = []
    for video in videos:
        files += [source.path for source in video.features]
        files += [] if video.query is None else [video.query.path]
        files += [] if video.frame_labels is None else [video.frame_labels]
    return files


def check_axes(axes: object, owner: str = "") -> None:
    """Raise ValueError that lists the orders if ``axes`` is none of them, nor None."""
    if axes is not None and not (isinstance(axes, str) and axes in get_args(Axes)):
        raise ValueError(
            f"{owner}axes must be {' or '.join(get_args(Axes))}: the order of the "
            f"first two axes of a feature file (a, b, D); got {shown(axes)}"
        )


def label_remedies() -> str:
    """Say how to give labels where the names of a list don't show them."""
    return (
        f"give {give('anomalous_names')} (all others are then normal), or "
        f"{give('normal_folders')} and {give('anomalous_folders')} where folders give the label, "
        "or write a manifest with the column label"
    )


def check_name(name: str) -> None:
    """Refuse a name that can't be a file's, or that is another spelling of a file's name.

    Score files are named after videos: ``./x``, ``x`` and ``x/`` would be one file.
    """
    if not name:
        raise ValueError("name of a video must not be empty; got ''")
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
    """Refuse an empty list, and what is not a list: either would fail later, far from its cause."""
    try:
        number = None if isinstance(videos, (str, bytes, Mapping)) else len(videos)
        strange = [video for video in videos if not isinstance(video, Video)]
    except TypeError:
        number = None
    if number is None:
        raise ValueError(f"videos must be a list of Video; got {shown(videos)}")
    if strange:
        raise ValueError(f"videos must hold nothing but Video; got {shown(strange[0])} in it")
    if number == 0:
        raise ValueError("videos is empty: read a manifest or list that names at least one video")


def require_unique_names(videos: Sequence[Video]) -> None:
    """Refuse names that can't name files, and names that occur twice: scores are files by name."""
    seen: set[str] = set()
    for video in videos:
        check_name(video.name)
        if video.name in seen:
            raise ValueError(f"videos has two videos named {video.name!r}; names must be unique")
        seen.add(video.name)
