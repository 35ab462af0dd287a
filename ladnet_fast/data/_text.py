"""Text files from other people's machines, read line by line with their numbers."""

from __future__ import annotations

import re
from pathlib import Path

from ._content import binary_kind, why_not_utf8
from .video import DataError


def read_text(path: Path, *, what: str) -> str:
    """Return the content of ``path``, line endings turned into LF, without a byte-order mark."""
    if not path.is_file():
        state = "is a folder, not a file" if path.is_dir() else "does not exist or is not a file"
        raise FileNotFoundError(f"{what} {path} {state}")
    kind = binary_kind(path)
    if kind is not None:
        raise DataError(f"{what} {path} is {kind}, not text")
    data = path.read_bytes()
    problem = why_not_utf8(path, data)
    if problem is not None:
        raise DataError(f"{what} {path} {problem}")
    return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: Path, *, what: str) -> list[tuple[int, str]]:
    """Return the lines that aren't blank, stripped, each with its number from 1."""
    text = read_text(path, what=what)
    lines = [(i, line.strip()) for i, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise DataError(f"{what} {path} is empty")
    return lines


def strip_suffix(name: str) -> str:
    """Drop a file name's suffix if it is a known one: XD-Violence's film titles contain dots."""
    return re.sub(r"\.(npy|txt|h5|hdf5|mp4|avi|mkv)$", "", name, flags=re.IGNORECASE)
