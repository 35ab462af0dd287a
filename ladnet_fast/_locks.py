"""One process at a time in a folder of results."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ._files import STATE


class FolderInUseError(ValueError):
    """Another process works in the folder; the message names it and what to do."""


@contextmanager
def folder_lock(
    folder: str | os.PathLike[str], purpose: str, *, wait: float = 0.0
) -> Iterator[None]:
    """Hold a lock on the folder for one purpose; the system releases it if the process dies.

    Parameters
    ----------
    folder : path-like
        Created if needed.
    purpose : str
        One word, which also names the work in the message. Locks of different purposes don't
        exclude one another.
    wait : float
        Seconds to wait for another holder; negative: as long as it takes.

    Raises
    ------
    FolderInUseError
        If another process holds the lock after ``wait`` seconds.
    """
    state = Path(folder) / STATE
    state.mkdir(parents=True, exist_ok=True)
    lock = FileLock(state / f"{purpose}.lock")
    try:
        lock.acquire(timeout=wait)
    except Timeout as error:
        raise FolderInUseError(
            f"{folder} is in use: another process is {purpose} there; wait until it has ended, or "
            "name another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()
