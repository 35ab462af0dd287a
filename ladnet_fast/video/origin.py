"""Which video a feature file was made from, and whether that is the video at hand."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from .._files import sha256_of
from .._records import digest_of
from .errors import VideoError

_END = 1 << 20  # bytes of each end that are compared every time

#: ``same``: these features are of this video. ``changed``: of the file at this path, whose content
#: is another now. ``other``: of a file at another path.
Origin = Literal["same", "changed", "other"]


def describe(path: Path) -> dict[str, Any]:
    """Identify a video file: path, size, time, and hashes of its content and of the content's ends.

    Raises
    ------
    VideoError
        If the file can't be read.
    """
    try:
        status = path.stat()
        return {
            "path": os.path.abspath(path),
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "ends": ends_of(path),
            "sha256": sha256_of(path),
        }
    except OSError as error:
        raise VideoError(f"{path}: can't be read ({error.strerror})") from error


def compare(path: Path, before: Mapping[str, Any]) -> Origin:
    """Tell whether the video at ``path`` is the one that `describe` described ``before``.

    Where path, size, time and both ends agree, the content is not read again; else its hash
    decides, so that a file that was moved or copied is still known.

    Raises
    ------
    VideoError
        If the file can't be read.
    """
    same_path = os.path.abspath(path) == before["path"]
    try:
        status = path.stat()
        if status.st_size == before["size"]:
            untouched = same_path and status.st_mtime_ns == before["mtime_ns"]
            if untouched and ends_of(path) == before["ends"]:
                return "same"
            if digest_of(path) == before["sha256"]:  # read once for all crops
                return "same"
    except OSError as error:
        raise VideoError(f"{path}: can't be read ({error.strerror})") from error
    return "changed" if same_path else "other"


def ends_of(path: Path) -> str:
    """Return the SHA-256 of the first and the last mebibyte."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(_END))
        size = os.fstat(file.fileno()).st_size
        file.seek(max(size - _END, 0))
        digest.update(file.read(_END))
    return digest.hexdigest()
