"""What this package remembers of files that it wrote: their digest, and what they were made from.

The records lie in a hidden folder ``.ladnet`` beside the files, one JSON file each. A file without
a record is somebody else's: it is read as it is, and never replaced unasked.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._files import STATE, atomic_path, atomic_write_text, sha256_of

_FORMAT = "ladnet_fast.record.1"
# Digests of files that this process has read whole, by path, inode, size and time.
_known: dict[tuple[str, int, int, int], str] = {}


class DamagedFileError(ValueError):
    """A file that this package wrote has other bytes than it was written with."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one file.

    Attributes
    ----------
    sha256 : str
        Of the content that was written last.
    previous : str or None
        Of the content before that, which the file still has where a process was killed after it
        wrote the record and before it moved the new file into place.
    size, mtime_ns : int
        Of the file when it was written.
    made : mapping
        How it was made, of JSON types.
    """

    sha256: str
    previous: str | None
    size: int
    mtime_ns: int
    made: Mapping[str, Any]


@contextmanager
def recorded(path: str | os.PathLike[str], made: Mapping[str, Any]) -> Iterator[Path]:
    """Yield a temporary path as `atomic_path` does; the file that appears has a record.

    Parameters
    ----------
    path : path-like
        The file to write.
    made : mapping
        How it was made, of JSON types; it may still be filled in until the block ends.
    """
    path = Path(path)
    with atomic_path(path) as temporary:
        yield temporary
        before = record_of(path)
        status = temporary.stat()
        content = {
            "format": _FORMAT,
            "file": path.name,
            "sha256": sha256_of(temporary),
            "previous": None if before is None else before.sha256,
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "made": dict(made),
        }
        # The record first: a kill between the two leaves a file that its record still knows.
        text = json.dumps(content, indent=1, allow_nan=False)
        atomic_write_text(record_path(path), text + "\n")


def record_text(path: str | os.PathLike[str], text: str, made: Mapping[str, Any]) -> None:
    """Write ``text`` (UTF-8) to ``path`` atomically, with a record."""
    with recorded(path, made) as temporary:
        temporary.write_text(text, encoding="utf-8")


def record_path(path: str | os.PathLike[str]) -> Path:
    """Return where the record of ``path`` lies, whether there is one or not."""
    path = Path(path)
    # A hash, because the file's own name may already be as long as the system allows.
    name = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]
    return path.parent / STATE / f"{name}.json"


def record_of(path: str | os.PathLike[str]) -> Record | None:
    """Return the record of a file; None where there is none.

    Raises
    ------
    DamagedFileError
        If the record itself can't be read.
    """
    where = record_path(path)
    try:
        content = json.loads(where.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT or not isinstance(content["made"], dict):
            raise KeyError("format")
        return Record(
            sha256=str(content["sha256"]),
            previous=None if content["previous"] is None else str(content["previous"]),
            size=int(content["size"]),
            mtime_ns=int(content["mtime_ns"]),
            made=content["made"],
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFileError(
            f"{where}, the record of {path}, is damaged; delete it, and the file counts as one "
            f"that you wrote: rm {shlex.quote(str(where))}"
        ) from error


def wrote(path: str | os.PathLike[str]) -> bool:
    """Tell whether ``path`` has the content that this package wrote there last."""
    record = record_of(path)
    if record is None:
        return False
    status = os.stat(path)
    if (status.st_size, status.st_mtime_ns) == (record.size, record.mtime_ns):
        return True
    return digest_of(path) in (record.sha256, record.previous)


def verify(path: str | os.PathLike[str]) -> Record | None:
    """Compare every byte of a file with its record, once per process.

    Returns
    -------
    Record or None
        None where there is no record, or the file has the content before the recorded one.

    Raises
    ------
    DamagedFileError
        If the file has other bytes than were written.
    """
    record = record_of(path)
    if record is None:
        return None
    digest = digest_of(path)
    if digest == record.sha256:
        return record
    if digest == record.previous:
        return None
    raise DamagedFileError(
        f"{path} has changed since ladnet-fast wrote it: its sha256 is {digest[:16]}..., expected "
        f"{record.sha256[:16]}...; make it again, or put a copy back. If you changed it yourself, "
        f"delete its record: rm {shlex.quote(str(record_path(path)))}"
    )


def digest_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file, which a process reads once while size and time stay."""
    status = os.stat(path)
    key = (os.path.abspath(path), status.st_ino, status.st_size, status.st_mtime_ns)
    if key not in _known:
        _known[key] = sha256_of(path)
    return _known[key]
