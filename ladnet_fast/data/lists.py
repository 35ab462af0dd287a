"""Feature lists made for other projects, read as they are."""

from __future__ import annotations

import csv
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ladnet_fast.data._arrays import hdf5_keys
from ladnet_fast.data._text import read_lines, strip_suffix
from ladnet_fast.data.layouts import LAYOUTS, Label, Layout, UnknownLabelError, label_from_cell
from ladnet_fast.data.manifest import check_files_exist
from ladnet_fast.data.video import Axes, DataError, FeatureSource, Video, check_axes

QUERY_SUFFIX = "__vggish"


class _Line(NamedTuple):
    number: int
    path: PurePosixPath
    cell: str | None  # the label column's text


class _File(NamedTuple):
    line: _Line
    name: str
    crop: int


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the paths of a list are on this machine."""

    listing: Path
    root: Path
    remap: tuple[str, str] | None

    def locate(self, path: PurePosixPath) -> Path:
        if self.remap is not None and path.is_relative_to(self.remap[0]):
            path = PurePosixPath(self.remap[1]) / path.relative_to(self.remap[0])
        return self.root / path  # an absolute path replaces root

    def check_remap(self, lines: Iterable[_Line]) -> None:
        if self.remap is None:
            return
        first = None
        for line in lines:
            first = line if first is None else first
            if line.path.is_relative_to(self.remap[0]):
                return
        raise DataError(
            f"{self.listing}: no line starts with the remap prefix {self.remap[0]!r}; "
            f"the first path is {str(first.path) if first else None!r}"
        )


def read_list(
    path: str | os.PathLike[str],
    layout: str,
    *,
    root: str | os.PathLike[str] | None = None,
    remap: tuple[str, str] | None = None,
    anomalous_names: Iterable[str] | str | os.PathLike[str] | None = None,
    queries: str | os.PathLike[str] | None = None,
    split: str | None = None,
    frames_per_snippet: int | None = None,
    axes: Axes | None = None,
    check_files: bool = True,
) -> list[Video]:
    r"""Read a list of feature files, grouping the crops of a video, with labels by name.

    One path a line; LF or CRLF; blank lines are skipped; backslashes are read as slashes.
    All crops of a video must stand on consecutive lines.

    Parameters
    ----------
    path : path-like
        The list, UTF-8.
    layout : str
        A key of `LAYOUTS`, which describes each.
    root : path-like, optional
        Folder from which relative paths start; default: the list's folder. With layout
        ``"hdf5"``: the HDF5 file.
    remap : (str, str), optional
        Prefix of the paths on the machine where the list was written, and what to put in its
        place, as in ``("D:\\feat", "/data/feat")``. Compared by whole path components.
    anomalous_names : iterable of str or path-like, optional
        Names of the anomalous videos, or a text file with one a line; all others are normal.
        Required where neither name nor list tells the label (ShanghaiTech's test list).
    queries : path-like, optional
        Folder that holds ``NAME__vggish.npy`` for every video, or a list of such files, to
        which ``root`` and ``remap`` apply as well.
    split : str, optional
        Stored in every `Video`.
    frames_per_snippet : int, optional
        Default: the layout's own, 16 for all but ``"c3d-text"``.
    axes : "snippets,crops" or "crops,snippets", optional
        Order of the first two axes of feature files that have three; default: the layout's own,
        else by their shapes, where these are certain.
    check_files : bool
        Look for every file that the list names.

    Returns
    -------
    list of Video
        In the order of the list, crops in ascending order.

    Raises
    ------
    FileNotFoundError
        If the list, or (with ``check_files``) a file it names, does not exist.
    DataError
        If a line can't be read, a label can't be told, crops of a video are apart, repeated, or
        fewer than another's; the message gives the line.
    ValueError
        If an argument is not allowed.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    check_axes(axes)
    rules, listing = LAYOUTS[layout], Path(path)
    if rules.hdf5 and root is None:
        raise ValueError(f"layout {layout!r} needs root: the HDF5 file whose keys the list names")
    place = _Place(
        listing,
        listing.parent if root is None or rules.hdf5 else Path(root),
        None if remap is None else (_posix(remap[0]), _posix(remap[1])),
    )
    lines = list(_read_lines(listing, rules))
    place.check_remap(lines)
    anomalous = _read_names(anomalous_names)
    groups = _group_crops(listing, lines, rules)
    if anomalous is not None:
        _check_all_known(anomalous, groups, listing)
    sources = _hdf5_sources(groups, Path(root)) if rules.hdf5 and root is not None else None
    query_of = _read_queries(queries, place, [group[0].name for group in groups])

    videos = []
    for index, group in enumerate(groups):
        label, classes = _label(group, rules, anomalous, listing)
        name = group[0].name
        videos.append(
            Video(
                name=name,
                features=(sources[index],)
                if sources is not None
                else tuple(FeatureSource(place.locate(file.line.path)) for file in group),
                label=label,
                classes=classes,
                frames_per_snippet=rules.frames_per_snippet
                if frames_per_snippet is None
                else frames_per_snippet,
                split=split,
                query=query_of.get(name),
                axes=rules.axes if axes is None else axes,
            )
        )
    if check_files:
        check_files_exist(
            videos,
            listing,
            remedy=(
                "give root= (the folder that relative paths start from) or remap=(old prefix, "
                "new prefix) where the list was written on another machine"
            ),
        )
    return videos


def _posix(text: str) -> str:
    """Slashes for backslashes, without a trailing one."""
    return str(PurePosixPath(text.replace("\\", "/")))


def _read_lines(listing: Path, rules: Layout) -> Iterator[_Line]:
    lines = read_lines(listing, what="list")
    if rules.label_column == "csv":
        header = lines[0][1].replace(" ", "").lower()
        if header != "path,label":
            raise DataError(
                f"{listing}: layout {rules.name!r} is CSV with the header path,label, "
                f"got {lines[0][1]!r}"
            )
        for number, text in lines[1:]:
            cells = next(csv.reader([text]))
            if len(cells) != 2 or not all(cell.strip() for cell in cells):
                raise DataError(f"{listing}, line {number}: expected path,label, got {text!r}")
            yield _Line(number, PurePosixPath(_posix(cells[0].strip())), cells[1].strip())
        return
    for number, text in lines:
        cell = None
        if rules.label_column == "optional":
            match = re.fullmatch(r"(\S.*?)\s+([01])(?:\.0*)?", text)
            if match is not None:
                text, cell = match[1], match[2]
        yield _Line(number, PurePosixPath(_posix(text)), cell)


def _group_crops(listing: Path, lines: Iterable[_Line], rules: Layout) -> list[list[_File]]:
    groups: list[list[_File]] = []
    first_line: dict[str, int] = {}
    for line in lines:
        name, crop = rules.split_crop(strip_suffix(line.path.name))
        if groups and groups[-1][0].name == name:
            groups[-1].append(_File(line, name, crop))
        elif name in first_line:
            raise DataError(
                f"{listing}, line {line.number}: video {name!r} already began on line "
                f"{first_line[name]}; put all crops of a video on consecutive lines"
            )
        else:
            first_line[name] = line.number
            groups.append([_File(line, name, crop)])
    for group in groups:
        group.sort(key=lambda file: file.crop)
        for file, following in itertools.pairwise(group):
            if file.crop == following.crop:
                raise DataError(
                    f"{listing}, lines {file.line.number} and {following.line.number}: both are "
                    f"crop {file.crop} of video {file.name!r}; is {rules.name!r} the right layout?"
                )
        if len(group) != len(groups[0]):
            raise DataError(
                f"{listing}, line {group[0].line.number}: video {group[0].name!r} has "
                f"{len(group)} crops, but {groups[0][0].name!r} has {len(groups[0])}; "
                "add the missing lines, or leave that video out"
            )
    return groups


def _label(
    group: list[_File], rules: Layout, anomalous: frozenset[str] | None, listing: Path
) -> Label:
    name = group[0].name
    if anomalous is not None:
        return _label_from_names(name, rules, anomalous)
    cells = {file.line.cell for file in group}
    where = f"{listing}, line {group[0].line.number}"
    if len(cells) > 1:
        raise DataError(f"{where}: the crops of {name!r} have different labels: {cells}")
    cell = cells.pop()
    if cell is not None:
        return label_from_cell(cell)
    try:
        return rules.label(name)
    except UnknownLabelError as error:
        raise DataError(
            f"{where}: {error}; give anomalous_names= (all others are then normal)"
        ) from error


def _label_from_names(name: str, rules: Layout, anomalous: frozenset[str]) -> Label:
    if name not in anomalous:
        return 0, ()
    try:
        return 1, rules.label(name)[1]
    except UnknownLabelError:  # the name tells no class, which is not needed here
        return 1, ()


def _read_names(names: Iterable[str] | str | os.PathLike[str] | None) -> frozenset[str] | None:
    if names is None:
        return None
    if isinstance(names, str | os.PathLike):
        return frozenset(text for _, text in read_lines(Path(names), what="list of names"))
    return frozenset(names)


def _check_all_known(anomalous: frozenset[str], groups: list[list[_File]], listing: Path) -> None:
    # A whole data set's names may be given for one of its lists, so some may be unknown.
    if anomalous and not any(group[0].name in anomalous for group in groups):
        raise DataError(
            f"{listing}: none of the {len(anomalous)} anomalous_names, such as "
            f"{min(anomalous)!r}, is in the list, whose first video is {groups[0][0].name!r}; "
            "write names as they are in the list, without suffix and crop"
        )


def _hdf5_sources(groups: list[list[_File]], file: Path) -> list[FeatureSource]:
    """Find each video's key: the line as written, or its last part without suffix."""
    keys = hdf5_keys(file)
    sources = []
    for entry, *_ in groups:
        written = str(entry.line.path)
        key = next((k for k in (written, entry.line.path.name, entry.name) if k in keys), None)
        if key is None:
            raise DataError(
                f"{file} has no data set for {written!r}; "
                f"it has {len(keys)}, such as {min(keys, default=None)!r}"
            )
        sources.append(FeatureSource(file, key))
    return sources


def _read_queries(
    queries: str | os.PathLike[str] | None, place: _Place, names: list[str]
) -> dict[str, FeatureSource]:
    if queries is None:
        return {}
    location = Path(queries)
    if location.is_dir():
        return {name: FeatureSource(location / f"{name}{QUERY_SUFFIX}.npy") for name in names}
    found: dict[str, FeatureSource] = {}
    for number, text in read_lines(location, what="list of queries"):
        path = PurePosixPath(_posix(text))
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
