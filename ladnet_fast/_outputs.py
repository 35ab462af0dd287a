"""Before a command writes: none of its files may be an input, or a file of somebody else."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from ._files import STATE
from ._records import record_of, wrote
from ._wording import first_few


class OutputError(ValueError):
    """A file that is about to be written is an input or somebody else's; nothing is written yet."""


def check_outputs(
    outputs: Iterable[str | os.PathLike[str]],
    inputs: Iterable[str | os.PathLike[str]],
    *,
    kinds: Collection[str] | None = None,
    overwrite: bool = False,
    remedy: str = "name another place with --out, or replace them with --overwrite",
) -> None:
    """Refuse to write over inputs, over files that this package did not write, and twice.

    Parameters
    ----------
    outputs : iterable of path-like
        Every file that will be written.
    inputs : iterable of path-like
        Every file that will be read; those that don't exist are passed over. Links count as what
        they point to.
    kinds : collection of str or None
        What will be written there, as records call it. A file that this package wrote as another
        kind is refused like somebody else's: figures don't replace a model. None: any kind.
    overwrite : bool
        Replace files that this package did not write. Inputs are never replaced.
    remedy : str
        What the user can do about files that are in the way.

    Raises
    ------
    OutputError
        Names the files and what to do.
    """
    targets = [Path(path) for path in outputs]
    read: dict[object, Path] = {}
    for path in map(Path, inputs):
        for identity in _identities(path):
            read.setdefault(identity, path)
    written: dict[str, Path] = {}
    for path in targets:
        source = next((read[i] for i in _identities(path) if i in read), None)
        if source is not None:
            same = "" if source == path else f" (the same file as {path})"
            raise OutputError(
                f"{source}{same} is an input, and this command would write its results over it; "
                "name another folder with --out"
            )
        place = place_of(path)
        if place in written:
            raise OutputError(
                f"{written[place]} and {path} are one file, and both would be written; give the "
                "two different names"
            )
        written[place] = path
    folders = [path for path in targets if path.is_dir()]
    if folders:
        raise OutputError(
            f"{folders[0]} is a folder, and a file of that name would be written; rename it, or "
            "name another place with --out"
        )
    for folder in {folder for path in targets for folder in (path.parent / STATE, path.parent)}:
        _require_folder(folder)
    if overwrite:
        return
    there = [path for path in targets if os.path.lexists(path)]
    foreign = [path for path in there if not _is_ours(path)]
    if foreign:
        raise OutputError(
            f"{first_few(foreign)} would be replaced, but ladnet-fast did not write "
            f"{'it' if len(foreign) == 1 else 'them'}, or somebody has changed "
            f"{'it' if len(foreign) == 1 else 'them'} since; {remedy}"
        )
    if kinds is None:
        return
    for path in there:
        record = record_of(path)
        kind = "something else" if record is None else record.made.get("kind", "something else")
        if kind not in kinds:
            raise OutputError(
                f"{path} would be replaced, but another command wrote it ({kind}); {remedy}"
            )


def _require_folder(folder: Path) -> None:
    """Refuse a folder that can't be made because a file of its name, or of a parent's, is there."""
    while not folder.is_dir() and folder.parent != folder:
        if os.path.lexists(folder):
            raise OutputError(
                f"{folder} is a file, and results need a folder of that name; rename it, or name "
                "another place with --out"
            )
        folder = folder.parent


def _is_ours(path: Path) -> bool:
    return path.is_file() and wrote(path)


def place_of(path: str | os.PathLike[str]) -> str:
    """Return the same text for all paths that lead to one place: links are followed."""
    return os.path.normcase(os.path.realpath(path))


def _identities(path: Path) -> list[object]:
    """Return what tells that two paths are one file: where it lies, and its number on the disk."""
    identities: list[object] = [place_of(path)]
    try:
        status = path.stat()
    except (OSError, ValueError):
        return identities
    # A folder given as an input is not a file; the files that are read from it are given too.
    if not path.is_dir():
        identities.append((status.st_dev, status.st_ino))
    return identities
