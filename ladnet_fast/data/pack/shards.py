"""Shards of packs, mapped once per process; their memory is the system's page cache."""

from __future__ import annotations

import errno
import mmap
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..video import DataError, FeatureSource
from .format import DESCR, Dtype, read_info, rows_of, tail_digest

_MOST_OPEN = 256  # a mapping keeps a file open, and a process may have 1,024 on most systems
_State = tuple[int, int, int]
# MADV_POPULATE_READ (Linux 5.14) has no name in Python yet.
_ADVICE: dict[str, int | None] = {"MADV_WILLNEED": getattr(mmap, "MADV_WILLNEED", None)}
if sys.platform == "linux":
    _ADVICE["MADV_POPULATE_READ"] = 22


@dataclass(frozen=True, slots=True)
class Shard:
    """Rows (N, D) as they are stored: float32, float16, or the 16 bits of bfloat16 as uint16."""

    stored: NDArray[Any]
    dtype: Dtype
    mapping: mmap.mmap
    offset: int

    def put(self, rows: slice | NDArray[np.int64], out: NDArray[np.float32]) -> None:
        """Write the rows as float32 into ``out`` (n, D), C-contiguous."""
        if self.dtype == "bfloat16":
            bits = out.view(np.uint32)
            bits[...] = self.stored[rows]
            bits <<= 16  # the upper half of a float32
        elif self.dtype == "float32" and not isinstance(rows, slice):
            # "clip" is the mode that writes to out directly; the rows were checked.
            np.take(self.stored, rows, axis=0, out=out, mode="clip")
        else:
            out[...] = self.stored[rows]

    def will_need(self, start: int, stop: int) -> None:
        """Tell the system that rows will be read soon, so that the disk works ahead."""
        self._advise("MADV_WILLNEED", start, stop)

    def map_now(self, start: int, stop: int) -> None:
        """Map rows at once instead of page by page as they are touched."""
        self._advise("MADV_POPULATE_READ", start, stop)

    def _advise(self, name: str, start: int, stop: int) -> None:
        option = _ADVICE.get(name)
        if option is None:
            return
        width = self.stored.strides[0]
        first = (self.offset + start * width) // mmap.PAGESIZE * mmap.PAGESIZE
        try:
            self.mapping.madvise(option, first, self.offset + stop * width - first)
        except OSError as error:
            # It only makes reading faster: a system that doesn't know it reads as ever.
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            del _ADVICE[name]

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return rows as float32: those of the mapping itself where they are stored so."""
        if self.dtype == "float32":
            return self.stored[start:stop]
        out = np.empty((stop - start, self.stored.shape[1]), np.float32)
        self.put(slice(start, stop), out)
        return out


@dataclass(frozen=True, slots=True)
class Rows:
    """A range of a shard's rows, with what arrays have: shape, dtype and reading by index."""

    shard: Shard
    start: int
    stop: int

    @property
    def shape(self) -> tuple[int, int]:
        """(T, D)."""
        return self.stop - self.start, int(self.shard.stored.shape[1])

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """As the rows are read."""
        return np.dtype(np.float32)

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        """Read rows as float32."""
        part = index if isinstance(index, tuple) else (index,)
        if isinstance(part[0], slice) and part[0].step in (None, 1):
            first, last, _ = part[0].indices(self.stop - self.start)
            rows = self.shard.read(self.start + first, self.start + max(first, last))
            where: tuple[Any, ...] = (slice(None), *part[1:])
            return rows[where]
        return self.shard.read(self.start, self.stop)[index]


_open: dict[str, tuple[_State, Shard]] = {}


def open_rows(source: FeatureSource) -> Rows:
    """Return the rows that a source names; `rows_of` says which sources do.

    Raises
    ------
    FileNotFoundError
        If the shard, or the pack's ``pack.json``, does not exist.
    DataError
        If the shard is not the one that the pack was made with, or has no such rows.
    """
    found = rows_of(source)
    assert found is not None, "only for sources that name rows"
    start, stop = found
    shard = open_shard(source.path)
    if not start < stop <= len(shard.stored):
        raise DataError(
            f"{source}: {source.path} has rows 0:{len(shard.stored)}, and START:STOP must be one "
            "or more of them; correct the manifest"
        )
    return Rows(shard, start, stop)


def open_shard(path: Path) -> Shard:
    """Map a shard; the first time in a process its size, header and end are compared.

    Raises
    ------
    FileNotFoundError, DataError
        As `open_rows`.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f"shard {path} does not exist; put it back, or pack again: ladnet-fast pack"
        ) from None
    state = (status.st_ino, status.st_size, status.st_mtime_ns)
    key = os.path.abspath(path)
    known = _open.get(key)
    if known is not None and known[0] == state:
        return known[1]
    _open.pop(key, None)
    shard = _mapped(path, status.st_size)
    while len(_open) >= _MOST_OPEN:
        _open.pop(next(iter(_open)))
    _open[key] = (state, shard)
    return shard


def _mapped(path: Path, size: int) -> Shard:
    info = read_info(path.parent)
    expected = info.shards.get(path.name)
    if expected is None:
        raise DataError(
            f"{path} is not a shard of the pack {path.parent}; its shards are "
            f"{', '.join(info.shards)}. Only rows of a pack are named as FILE.npy::START:STOP"
        )
    problem = None
    if size != expected.bytes:
        problem = f"it has {size:,} bytes, expected {expected.bytes:,}"
    elif tail_digest(path) != expected.tail_sha256:
        problem = "its end has changed"
    if problem is None:
        try:
            with path.open("rb") as file:
                np.lib.format.read_magic(file)
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
                offset = file.tell()
                mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (ValueError, EOFError, SyntaxError) as error:
            problem = f"its header can't be read: {error}"
        else:
            wanted = (expected.rows, expected.width), np.dtype(DESCR[info.dtype])
            if (shape, dtype) != wanted:
                problem = f"it holds {shape} of {dtype}, expected {wanted[0]} of {wanted[1]}"
    if problem is not None:
        raise DataError(
            f"{path} is damaged: {problem}; copy it again, or pack again: ladnet-fast pack"
        )
    stored = np.frombuffer(
        mapping, np.uint16 if info.dtype == "bfloat16" else dtype, count=shape[0] * shape[1],
        offset=offset,
    ).reshape(shape)  # fmt: skip
    return Shard(stored, info.dtype, mapping, offset)
