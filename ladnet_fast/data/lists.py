"""Feature lists made for other projects, read as they are."""

from __future__ import annotations

import csv
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from .. import _values
from .._wording import give, name_of
from ._annotation_lines import base_name
from ._label_rules import (
    Entry,
    LabelRules,
    folder_labels,
    read_anomalous_names,
)
from ._list_files import (
    File,
    Line,
    Place,
    find_queries,
    hdf5_sources,
    lengths_of,
    posix,
)
from ._text import read_lines, strip_suffix
from .layouts import LAYOUTS, Layout
from .manifest import check_files_exist
from .video import Axes, DataError, FeatureSource, Video, check_axes, check_name

Labels = Literal["required", "optional"]


def read_list(
    path: str | os.PathLike[str],
    layout: str,
    *,
    root: str | os.PathLike[str] | None = None,
    remap: tuple[str, str] | None = None,
    labels: Labels = "required",
    anomalous_names: Iterable[str] | str | os.PathLike[str] | None = None,
    normal_folders: Sequence[str] = (),
    anomalous_folders: Sequence[str] = (),
    queries: str | os.PathLike[str] | None = None,
    split: str | None = None,
    frames_per_snippet: int | None = None,
    axes: Axes | None = None,
    num_frames: Mapping[str, int] | str | os.PathLike[str] | None = None,
    check_files: bool = True,
) -> list[Video]:
    r"""Read a list of feature files, grouping the crops of a video, with labels by name.

    One path per line; LF or CRLF; blank lines are skipped; backslashes are read as slashes.
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
    labels : "required" or "optional"
        Whether a video whose label is not certain is refused, or gets None, which is enough for
        scoring, and for evaluating with frame-level truth.
    anomalous_names : iterable of str or path-like, optional
        Names of the anomalous videos, or a text file with one per line, ``name`` or
        ``name class``; all others are normal.
    normal_folders, anomalous_folders : sequence of str
        Names of folders: a video whose path in the list has one of them is normal, or anomalous.
        They overrule a label column and names.
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
    num_frames : mapping of str to int or path-like, optional
        Lengths of the videos in frames by their names without folder and suffix, or a file that
        holds them (see `read_num_frames`): what 32-row C3D features need to be evaluated. Not
        every video of the list has to be in it, but one must.
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
        If a line can't be read, a label is unknown, or a video's crops are apart, repeated, or
        fewer than another's; the message gives the line.
    ValueError
        If an argument is not allowed.
    """
    for name, given, allowed in (
        (name_of("layout"), layout, tuple(LAYOUTS)),
        ("labels", labels, get_args(Labels)),
    ):
        if not isinstance(given, str) or given not in allowed:
            raise ValueError(
                f"{name} must be one of {', '.join(allowed)}; got {_values.shown(given)}"
            )
    check_files = _values.switch("check_files", check_files)
    normal_folders = _values.texts(name_of("normal_folders"), normal_folders, "folders' names")
    anomalous_folders = _values.texts(
        name_of("anomalous_folders"), anomalous_folders, "folders' names"
    )
    if anomalous_names is not None and (normal_folders or anomalous_folders):
        raise ValueError(
            f"{name_of('anomalous_names')} and {name_of('normal_folders')} or "
            f"{name_of('anomalous_folders')} can't be combined: each sets the label of every "
            "video; leave one out"
        )
    check_axes(axes)
    rules, listing = LAYOUTS[layout], _values.path("path", path)
    root = None if root is None else _values.path(name_of("root"), root)
    queries = None if queries is None else _values.path(name_of("queries"), queries)
    if split is not None and not isinstance(split, str):
        raise ValueError(f"split must be text, or None; got {_values.shown(split)}")
    if frames_per_snippet is not None:
        frames_per_snippet = _values.count(name_of("frames_per_snippet"), frames_per_snippet)
    if rules.hdf5 and root is None:
        raise ValueError(
            f"layout {layout!r} needs {give('root')}: the HDF5 file whose keys the list names"
        )
    place = Place(
        listing,
        listing.parent if root is None or rules.hdf5 else root,
        None if remap is None else _checked_remap(remap),
    )
    lines = list(_read_lines(listing, rules, labels == "required"))
    place.check_remap(lines)
    groups = _group_crops(listing, lines, rules)
    entries = [_entry(group) for group in groups]
    names = [entry.name for entry in entries]
    label_rules = LabelRules(
        rules,
        listing,
        read_anomalous_names(_checked_names(anomalous_names), names, listing),
        folder_labels(
            normal_folders, anomalous_folders, [entry.folders for entry in entries], listing
        ),
        labels == "required",
    )
    sources = None
    if rules.hdf5 and root is not None:
        sources = hdf5_sources(groups, root, check_files)
    query_of = find_queries(queries, place, names)
    if num_frames is not None and not isinstance(num_frames, Mapping):
        num_frames = _values.path(name_of("num_frames"), num_frames)
    frames_of = lengths_of(num_frames, names, listing)

    videos = []
    for index, (group, entry) in enumerate(zip(groups, entries, strict=True)):
        label, classes = label_rules.label(entry)
        name = entry.name
        videos.append(
            Video(
                name=name,
                features=(sources[index],)
                if sources is not None
                else tuple(FeatureSource(place.locate(file.line.path)) for file in group),
                label=label,
                classes=classes,
                num_frames=frames_of.get(base_name(name)),
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
                f"give {give('root')} (the folder that relative paths start from) or "
                f"{give('remap')} (old prefix, new prefix) where the list was written on another "
                "machine"
            ),
        )
    return videos


def _checked_remap(remap: tuple[str, str]) -> tuple[str, str]:
    given = _values.texts(name_of("remap"), remap, "two prefixes, the old and the new one")
    if len(given) != 2:
        raise ValueError(
            f"{name_of('remap')} must be two prefixes, the old and the new one; "
            f"got {_values.shown(remap)}"
        )
    return posix(given[0]), posix(given[1])


def _checked_names(
    names: Iterable[str] | str | os.PathLike[str] | None,
) -> list[str] | Path | None:
    """Take names as a list, and text or what is path-like as the path of a file of them."""
    if names is None:
        return None
    name = name_of("anomalous_names")
    if isinstance(names, (str, os.PathLike)):
        return _values.path(name, names)
    if not isinstance(names, Iterable) or isinstance(names, bytes):
        raise ValueError(f"{name} must be names, or a file of them; got {_values.shown(names)}")
    return list(_values.texts(name, list(names), "names"))


def _read_lines(listing: Path, rules: Layout, need_labels: bool) -> Iterator[Line]:
    lines = read_lines(listing, what="list")
    if rules.label_column == "csv":
        header = lines[0][1].replace(" ", "").lower()
        if header != "path,label":
            raise DataError(
                f"{listing}: layout {rules.name!r} is CSV with the header path,label; "
                f"got {lines[0][1]!r}"
            )
        for number, text in lines[1:]:
            cells = next(csv.reader([text]))
            path, *rest = (cell.strip() for cell in cells)
            if not path or len(rest) > 1 or (need_labels and rest in ([], [""])):
                raise DataError(
                    f"{listing}, line {number}: a line must be path,label; got {text!r}"
                )
            yield Line(number, PurePosixPath(posix(path)), "".join(rest) or None)
        return
    for number, text in lines:
        cell = None
        if rules.label_column == "optional":
            match = re.fullmatch(r"(\S.*?)\s+([01](?:\.0*)?)", text)
            match = match or re.fullmatch(r"(.*\.(?:npy|txt|h5|hdf5))\s+(\S+)", text)
            if match is not None:
                text, cell = match[1], match[2]
        yield Line(number, PurePosixPath(posix(text)), cell)


def _group_crops(listing: Path, lines: Iterable[Line], rules: Layout) -> list[list[File]]:
    groups: list[list[File]] = []
    first_line: dict[str, int] = {}
    for line in lines:
        name, crop = rules.split_crop(strip_suffix(line.path.name))
        try:
            check_name(name)
        except ValueError as error:
            raise DataError(f"{listing}, line {line.number}: {error}") from error
        if groups and groups[-1][0].name == name:
            groups[-1].append(File(line, name, crop))
        elif name in first_line:
            raise DataError(
                f"{listing}, line {line.number}: video {name!r} already began on line "
                f"{first_line[name]}; put all crops of a video on consecutive lines"
            )
        else:
            first_line[name] = line.number
            groups.append([File(line, name, crop)])
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


def _entry(group: list[File]) -> Entry:
    return Entry(
        group[0].line.number,
        group[0].name,
        tuple(dict.fromkeys(part for file in group for part in file.line.path.parent.parts)),
        frozenset(file.line.cell for file in group),
    )
