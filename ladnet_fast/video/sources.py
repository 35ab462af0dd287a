"""The video files that files, folders and patterns name, and what each video is called."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from .errors import VideoError

#: What counts as a video in a folder. A file that is named itself may have any suffix.
VIDEO_SUFFIXES = frozenset(
    (
        *(".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg"),
        *(".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
    )
)


class Footage(NamedTuple):
    """A video file, and the name of what is made of it: a path below the output folder."""

    path: Path
    name: str


def find_footage(inputs: Iterable[str | os.PathLike[str]]) -> list[Footage]:
    """List the video files of files, folders and patterns.

    Parameters
    ----------
    inputs : iterable of path-like
        A file is taken as it is, and its name is the file's without suffix. A folder gives all
        videos in it and in its subfolders, by their suffix; a pattern (``"cams/**/*.mp4"``, in
        quotes) all files that it matches. Their names keep the folders below the one that was
        named, or below the part of the pattern before its first wildcard. Hidden files are left
        out.

    Returns
    -------
    list of Footage
        In the order of ``inputs``, sorted within a folder or pattern, without repetitions.

    Raises
    ------
    VideoError
        If a file does not exist, a folder holds no video, or a pattern matches no file.
    """
    found: list[Footage] = []
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            files = videos_in(path)
            if not files:
                raise VideoError(
                    f"{path}: this folder and its subfolders hold no video file "
                    f"({', '.join(sorted(VIDEO_SUFFIXES))})"
                )
            found += [Footage(file, _name_below(path, file)) for file in files]
        elif path.exists() or not glob.has_magic(os.fspath(given)):
            found.append(Footage(path, path.stem))
        else:
            root = _fixed_part(path)
            found += [Footage(file, _name_below(root, file)) for file in matches(path)]
    return list(dict.fromkeys(found))


def videos_in(folder: Path) -> list[Path]:
    """Return the video files in a folder and its subfolders, sorted; hidden ones are left out."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in VIDEO_SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def matches(pattern: Path) -> list[Path]:
    """Return the files that a pattern matches, sorted.

    Raises
    ------
    VideoError
        If there is none.
    """
    files = [Path(name) for name in sorted(glob.glob(os.fspath(pattern), recursive=True))]
    files = [file for file in files if file.is_file()]
    if not files:
        raise VideoError(f"{pattern}: matches no file")
    return files


def require_distinct_names(footage: Iterable[Footage]) -> None:
    """Raise VideoError where two files would be written to one, or a name can't be listed."""
    seen: dict[str, Path] = {}
    for path, name in footage:
        if any(mark in name for mark in (";", "::")) or not name.isprintable():
            raise VideoError(
                f"{str(path)!r}: a manifest can't hold a name with ';', '::' or a control "
                "character; rename the file"
            )
        if name in seen:
            raise VideoError(
                f"{seen[name]} and {path} would both be written to {name}.npy; rename one, or "
                "choose another output folder for it"
            )
        seen[name] = path


def _fixed_part(pattern: Path) -> Path:
    parts = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts)


def _name_below(folder: Path, file: Path) -> str:
    return str(PurePosixPath(file.relative_to(folder).with_suffix("")))
