"""Comparing a pack with its digests, byte by byte."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..._records import DamagedFileError, digest_of
from .format import PackInfo, read_info
from .shards import open_shard

Progress = Callable[[str, int, int | None], None]


def verify_pack(folder: str | os.PathLike[str], *, progress: Progress | None = None) -> PackInfo:
    """Read a pack whole and compare every shard with its SHA-256.

    Opening a pack compares sizes, headers and ends only; this finds every changed bit.

    Returns
    -------
    PackInfo

    Raises
    ------
    DamagedFileError
        Names every shard that has other bytes than were written.
    FileNotFoundError, DataError
        If a shard is missing, or ``pack.json`` is.
    """
    folder = Path(folder)
    info = read_info(folder)
    wrong = []
    for done, (name, shard) in enumerate(info.shards.items()):
        if progress is not None:
            progress(name, done, len(info.shards))
        open_shard(folder / name)
        if digest_of(folder / name) != shard.sha256:
            wrong.append(name)
    if wrong:
        raise DamagedFileError(
            f"{folder}: {len(wrong)} of {len(info.shards)} shards have changed since they were "
            f"written: {', '.join(wrong)}; copy them again, or pack again: ladnet-fast pack"
        )
    return info
