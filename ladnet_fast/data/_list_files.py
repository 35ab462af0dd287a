"""Where the files of a list lie on this machine: features, queries, and numbers of frames."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from .._wording import name_of
from ._annotation_lines import base_name
from ._arrays import hdf5_keys
from ._text import read_lines, strip_suffix
from .annotations import read_num_frames
from .video import DataError, FeatureSource

QUERY_SUFFIX = "__vggish"


class Line(NamedTuple):
    """A line of a list."""

    number: int
    path: PurePosixPath
    cell: str | None  # the label column's text


class File(NamedTuple):
    """A line that is a crop of a video."""

    line: Line
    name: str
    crop: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where the paths of a list are on this machine."""

    listing: Path
    root: Path
    remap: tuple[str, str] | None

    def locate(self, path: PurePosixPath) -> Path:
        """Return where a path of the list is."""
        if self.remap is not None and path.is_relative_to(self.remap[0]):
            path = PurePosixPath(self.remap[1]) / path.relative_to(self.remap[0])
        return self.root / path  # an absolute path replaces root

    def check_remap(self, lines: Iterable[Line]) -> None:
        """Refuse a prefix that no line begins with."""
        if self.remap is None:
            return
        first = None
        for line in lines:
            first = line if first is None else first
            if line.path.is_relative_to(self.remap[0]):
                return
        raise DataError(
            f"{self.listing}: no line starts with the prefix {self.remap[0]!r} of "
            f"{name_of('remap')}; "
            f"the first path is {str(first.path) if first else None!r}"
        )


def posix(text: str) -> str:
    """Return a path with slashes for backslashes, without a trailing one."""
    return str(PurePosixPath(text.replace("\\", "/")))


def lengths_of(
    num_frames: Mapping[str, int] | str | os.PathLike[str] | None, names: list[str], listing: Path
) -> Mapping[str, int]:
    """Return lengths in frames by base name; at least one of them is of a video of the list."""
    if num_frames is None:
        return {}
    found = num_frames if isinstance(num_frames, Mapping) else read_num_frames(num_frames)
    if not any(base_name(name) in found for name in names):
        raise DataError(
            f"{listing}: {name_of('num_frames')} knows {len(found)} videos, such as "
            f"{next(iter(found), None)!r}, but none of the list, whose first video is {names[0]!r}"
        )
    return found


def hdf5_sources(groups: list[list[File]], file: Path, check_files: bool) -> list[FeatureSource]:
    """Find each video's key: the line as written, or its last part without suffix."""
    keys = hdf5_keys(file) if check_files or file.is_file() else frozenset[str]()
    sources = []
    for entry, *_ in groups:
        written = str(entry.line.path)
        key = next((k for k in (written, entry.line.path.name, entry.name) if k in keys), None)
        if key is None and not check_files:
            key = entry.name
        if key is None:
            raise DataError(
                f"{file} has no data set for {written!r}; "
                f"it has {len(keys)}, such as {min(keys, default=None)!r}"
            )
        sources.append(FeatureSource(file, key))
    return sources


def find_queries(
    queries: str | os.PathLike[str] | None, place: Place, names: list[str]
) -> dict[str, FeatureSource]:
    """Find each video's query by its name."""
    if queries is None:
        return {}
    location = Path(queries)
    if location.is_dir():
        return {name: FeatureSource(location / f"{name}{QUERY_SUFFIX}.npy") for name in names}
    found: dict[str, FeatureSource] = {}
    for number, text in read_lines(location, what="list of queries"):
        path = PurePosixPath(posix(text))
        name = strip_suffix(path.name).removesuffix(QUERY_SUFFIX)
        source = FeatureSource(place.locate(path))
        if found.setdefault(name, source) != source:  # one line per crop is fine
            raise DataError(f"{location}, line {number}: a second query for video {name!r}")
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(
            f"{location} has no query for {len(missing)} of {len(names)} videos, such as "
            f"{missing[0]!r}; a query's name is the video's name plus {QUERY_SUFFIX!r}"
        )
    return {name: found[name] for name in names}
