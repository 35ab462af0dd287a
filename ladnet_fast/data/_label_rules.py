"""Where the label of a list's video comes from: the user, a label column, or the name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .._wording import give, name_of
from ._text import read_lines
from .labels import Label, UnknownLabelError, label_from_cell
from .layouts import Layout
from .video import DataError, label_remedies

#: A label that may be unknown.
MaybeLabel = tuple[int | None, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Entry:
    """What a list says of one video: its name, folders, label cells, and the line it begins on."""

    line: int
    name: str
    folders: tuple[str, ...]
    cells: frozenset[str | None]


@dataclass(frozen=True, slots=True)
class LabelRules:
    """How the labels of one list are found.

    Parameters
    ----------
    layout : Layout
        Its names give labels.
    listing : Path
        Named in messages.
    anomalous : mapping of str to Label, optional
        Labels of the videos that the user named; all others are normal.
    folders : mapping of str to int
        Labels of folders that the user named.
    required : bool
        Refuse a video whose label is unknown; otherwise its label is None.
    """

    layout: Layout
    listing: Path
    anomalous: Mapping[str, Label] | None
    folders: Mapping[str, int]
    required: bool

    def label(self, entry: Entry) -> MaybeLabel:
        """Return a video's label and classes."""
        where = f"{self.listing}, line {entry.line}"
        if self.anomalous is not None:
            label, classes = self.anomalous.get(entry.name, (0, ()))
            return label, classes or self._classes(entry, label)
        if len(entry.cells) > 1:
            raise DataError(
                f"{where}: the crops of {entry.name!r} have different labels: "
                f"{', '.join(sorted(map(str, entry.cells)))}"
            )
        said = {self.folders[part] for part in entry.folders if part in self.folders}
        if len(said) > 1:
            raise DataError(
                f"{where}: {entry.name!r} lies in folders of both labels, {'/'.join(entry.folders)}"
            )
        if said:
            (label,) = said
            return label, self._classes(entry, label)
        (cell,) = entry.cells
        try:
            if cell is not None:
                return label_from_cell(cell)
            return self.layout.label(entry.name, entry.folders)
        except UnknownLabelError as error:
            if not self.required:
                return None, ()
            column = "" if cell is None else ", or correct the cell"
            raise DataError(f"{where}: {error}; {label_remedies()}{column}") from error

    def _classes(self, entry: Entry, label: int) -> tuple[str, ...]:
        """Return the classes that the name gives, for a video whose label comes from elsewhere."""
        try:
            return self.layout.label(entry.name, entry.folders)[1] if label else ()
        except UnknownLabelError:  # none are needed
            return ()


def read_anomalous_names(
    names: Iterable[str] | str | os.PathLike[str] | None, videos: Sequence[str], listing: Path
) -> dict[str, Label] | None:
    """Read names of anomalous videos, or a file of lines ``name`` or ``name class``.

    Names may hold blanks: a line that equals a video's name is that name; otherwise its last field
    is the class. The names of a whole data set may be given for one of its lists: not all of them
    need be in ``videos``, but at least one must.
    """
    if names is None:
        return None
    known = frozenset(videos)
    found: dict[str, Label] = {}
    given = 0
    if not isinstance(names, str | os.PathLike):
        names = list(names)
        given, found = len(names), {name: (1, ()) for name in names if name in known}
        example: str | None = min(names, default=None)
    else:
        path = Path(names)
        lines = read_lines(path, what="list of names")
        given, example = len(lines), lines[0][1]
        for number, text in lines:
            where = f"{path}, line {number}"
            name, _, cell = text.rpartition(" ") if " " in text else text.rpartition("\t")
            name = name.strip()
            if text in known and name in known:
                raise DataError(
                    f"{where}: {text!r} may be the video of that name, or {name!r} with the "
                    f"class {cell!r}; rename one of them in the list"
                )
            if text in known:
                label: Label = (1, ())
            elif name in known:
                label = _label_of_class(cell, where)
                text = name
            else:
                continue
            if found.setdefault(text, label) != label:
                raise DataError(f"{where}: another label for {text!r} than before; remove one line")
    if given and not found:
        raise DataError(
            f"{listing}: none of the {given} {name_of('anomalous_names')}, such as {example!r}, "
            f"is in the list, whose first video is {videos[0]!r}; "
            "write names as they are in the list, without suffix and crop"
        )
    return found


def _label_of_class(cell: str, where: str) -> Label:
    try:
        return label_from_cell(cell)
    except UnknownLabelError:
        if not cell[:1].isalpha():
            raise DataError(
                f"{where}: the class must begin with a letter, in a line 'name' or 'name class'; "
                f"got {cell!r}"
            ) from None
        return 1, (cell,)  # a class that the user has named


def folder_labels(
    normal: Sequence[str], anomalous: Sequence[str], folders: Iterable[Sequence[str]], listing: Path
) -> dict[str, int]:
    """Return the label of every folder that the user named; refuse names that match nothing."""
    for argument, names in (("normal_folders", normal), ("anomalous_folders", anomalous)):
        for name in names:
            if not name or "/" in name or "\\" in name or name in (".", ".."):
                raise ValueError(
                    f"{name_of(argument)} must be the name of one folder in the list's paths, "
                    f"without slashes; got {name!r}"
                )
    both = set(normal) & set(anomalous)
    if both:
        raise ValueError(
            f"{name_of('normal_folders')} and {name_of('anomalous_folders')} both name "
            f"{min(both)!r}; a folder has one label"
        )
    seen = {part for parts in folders for part in parts}
    for argument, names in (("normal_folders", normal), ("anomalous_folders", anomalous)):
        for name in names:
            if name not in seen:
                raise DataError(
                    f"{listing}: no path has the folder {name!r} of {give(argument, name)}; "
                    f"its folders are {', '.join(sorted(seen)[:5]) or '(none)'}"
                )
    return {**dict.fromkeys(normal, 0), **dict.fromkeys(anomalous, 1)}
