"""Opening arrays in the formats that features come in, without pickle."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._extras import import_extra
from ._content import binary_kind, why_not_utf8
from ._conversions import conversion, object_array_command
from .pack.format import rows_of
from .pack.shards import open_rows
from .video import DataError, FeatureSource

HDF5_SUFFIXES = (".h5", ".hdf5")
TEXT_SUFFIXES = (".txt",)


def _remedy(path: Path) -> str:
    """Say what a file is that has another suffix, and how to convert it."""
    kind = binary_kind(path) if path.is_file() else None
    if kind is None:
        return ""
    command = conversion(kind, path, "features")
    return f". {path.name} is {kind}" + (f"; {command}" if command else "")


@contextmanager
def open_array(source: FeatureSource) -> Iterator[Any]:
    """Yield something with ``shape`` and ``dtype`` that reads from disk only what is indexed."""
    path, suffix = source.path, source.path.suffix.lower()
    if rows_of(source) is not None:
        yield open_rows(source)
        return
    if suffix not in (".npy", *TEXT_SUFFIXES, *HDF5_SUFFIXES):
        raise DataError(
            f"{source}: features are read from .npy, .txt (rows of numbers) or .h5/.hdf5, "
            f"not from {suffix or 'a file without a suffix'!r}{_remedy(path)}"
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"feature file {path} does not exist; correct the list or manifest that names it"
        )
    if source.key is not None and suffix not in HDF5_SUFFIXES:
        raise DataError(
            f"{source}: only HDF5 files have keys; remove '::{source.key}'. (The rows of a pack "
            "are FILE.npy::START:STOP, two whole numbers)"
        )
    if suffix in HDF5_SUFFIXES:
        with _open_hdf5(source) as array:
            yield array
    elif suffix in TEXT_SUFFIXES:
        yield _read_text_rows(path)
    else:
        yield map_npy(path)


def map_npy(path: Path) -> NDArray[Any]:
    """Map a ``.npy`` file; DataError where it is corrupt or needs pickle."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                header = np.lib.format.read_array_header_1_0(file)
            else:
                header = np.lib.format.read_array_header_2_0(file)
            if header[2].hasobject:
                raise DataError(_object_array_help(path))
        if 0 in header[0]:  # an empty file can't be mapped
            return np.empty(header[0], header[2])
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except DataError:
        raise
    except (ValueError, EOFError, SyntaxError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is not a complete .npy file ({error}); copy it or extract its features again"
        ) from error


def _object_array_help(path: Path) -> str:
    return (
        f"{path} is an object array, which numpy can open only by running pickle; if you trust "
        "its origin, keep a copy and convert it once:\n"
        f"  {object_array_command(path)}\n"
        "Rows of one shape become one array in the same file. Others can't: each is saved to a "
        f"file of its own beside it, {path.stem}__0.npy and so on; list those instead"
    )


def _read_text_rows(path: Path) -> NDArray[np.float32]:
    try:
        with warnings.catch_warnings():  # a file without rows is refused by its shape
            warnings.simplefilter("ignore", UserWarning)
            # ndmin: one row is still a bag of one snippet.
            rows = np.loadtxt(path, dtype=np.float32, ndmin=2, delimiter=_text_delimiter(path))
    except (ValueError, UnicodeDecodeError) as error:
        kind = binary_kind(path)
        problem = f"is {kind}" if kind else why_not_utf8(path, path.read_bytes())
        raise DataError(
            f"{path} is not a table of numbers, one snippet per line: "
            f"{f'it {problem}' if problem else error}"
        ) from error
    return rows


def _text_delimiter(path: Path) -> str | None:
    with path.open("rb") as file:
        return "," if b"," in file.readline() else None


class _KeptOpen(threading.local):
    """HDF5 files that stay open in this thread, by process, path, inode, size and time."""

    def __init__(self) -> None:
        self.users = 0
        self.files: dict[tuple[int, str, int, int, int], Any] = {}


_kept_open = _KeptOpen()
_MOST_OPEN = 32  # a process may open 1,024 files on most systems, 256 on macOS


@contextmanager
def hdf5_kept_open() -> Iterator[None]:
    """Open every HDF5 file once while the block lasts, instead of once for each data set.

    A file that changes on the disk is opened again. Forked processes open files of their own: a
    handle of HDF5 must not be shared.
    """
    _kept_open.users += 1
    try:
        yield
    finally:
        _kept_open.users -= 1
        if not _kept_open.users:
            for key in _own_keys():
                _kept_open.files.pop(key).close()


def keep_hdf5_open(_worker: int) -> None:
    """Keep HDF5 files open until this process ends: for a DataLoader's workers."""
    _kept_open.users += 1


def _own_keys() -> list[tuple[int, str, int, int, int]]:
    # A forked process leaves the files of its parent alone: closing them would unlock them there.
    return [key for key in _kept_open.files if key[0] == os.getpid()]


@contextmanager
def _hdf5_file(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise FileNotFoundError(f"HDF5 file {path} does not exist or is not a file")
    if not _kept_open.users:
        with _opened_hdf5(path) as file:
            yield file
        return
    status = path.stat()
    key = (os.getpid(), str(path), status.st_ino, status.st_size, status.st_mtime_ns)
    if key not in _kept_open.files:
        for old in [k for k in _own_keys() if k[1] == key[1]] or _own_keys()[: -_MOST_OPEN + 1]:
            _kept_open.files.pop(old).close()
        _kept_open.files[key] = _opened_hdf5(path)
    yield _kept_open.files[key]


def _opened_hdf5(path: Path) -> Any:
    h5py = import_extra("h5py", extra="tools", purpose=f"read {path}")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path} is not a readable HDF5 file: {error}") from error


@contextmanager
def _open_hdf5(source: FeatureSource) -> Iterator[Any]:
    if source.key is None:
        raise DataError(f"{source}: say which data set to read, as in {source}::VIDEO_NAME")
    with _hdf5_file(source.path) as file:
        found = file.get(source.key)
        if not hasattr(found, "dtype"):  # absent, or a group
            keys = list(file)
            shown = ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
            raise DataError(
                f"{source.path} has no data set {source.key!r}; it has {len(keys)} keys: {shown}"
            )
        yield found


def hdf5_keys(path: Path) -> frozenset[str]:
    """Return the names of all data sets in an HDF5 file; inside groups, their full path."""
    names: list[str] = []
    with _hdf5_file(path) as file:
        # visititems stops at the first value that is not None, which append never returns.
        file.visititems(lambda name, item: names.append(name) if hasattr(item, "dtype") else None)
    return frozenset(names)
