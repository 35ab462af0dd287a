"""What the folder of a pack holds.

``features-0000.npy``, ... hold the rows of all crops of all videos end to end, (rows, D), and
``queries-0000.npy``, ... those of the second modality. ``videos.csv`` is a manifest in which
``features-0000.npy::120:240`` are rows 120 to 239. ``pack.json`` comes last, and makes the pack
complete: dtype, sizes and digests of the shards.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..video import DataError, FeatureSource

FORMAT = "ladnet_fast.pack.1"
INFO, TRUTH = "pack.json", "truth"
#: What the files are called in their records.
KIND = "a pack of features"

Dtype = Literal["float32", "float16", "bfloat16"]
#: How NumPy's headers spell them. NumPy has no bfloat16, which is stored as two bytes without a
#: type: a program that doesn't know it won't take them for numbers.
DESCR: Mapping[str, str] = {"float32": "<f4", "float16": "<f2", "bfloat16": "|V2"}

_ROWS = re.compile(r"(\d{1,15}):(\d{1,15})")
_TAIL = 1 << 16
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One shard: its rows and width, its size in bytes, SHA-256 of all of it and of its end."""

    rows: int
    width: int
    bytes: int
    sha256: str
    tail_sha256: str


@dataclass(frozen=True, slots=True)
class PackInfo:
    """What ``pack.json`` says.

    Attributes
    ----------
    dtype : "float32", "float16" or "bfloat16"
        Of the stored features; they are read as float32.
    shards : mapping of str to ShardInfo
        By file name.
    videos, rows : int
        How many videos, and rows of features in all crops together.
    error : mapping of str to float
        With a dtype other than float32: ``largest`` and ``mean`` relative error of a row,
        ``|stored - given| / |given|``. Both 0 for float32.
    origin : mapping
        Where the features came from, as far as all files have the same record; else empty.
    """

    dtype: Dtype
    shards: Mapping[str, ShardInfo]
    videos: int
    rows: int
    error: Mapping[str, float]
    origin: Mapping[str, Any]


def rows_of(source: FeatureSource) -> tuple[int, int] | None:
    """Return the range of rows that a source names in a shard; None for any other source."""
    if source.key is None or source.path.suffix.lower() != ".npy":
        return None
    match = _ROWS.fullmatch(source.key)
    return None if match is None else (int(match[1]), int(match[2]))


def is_pack(folder: str | os.PathLike[str]) -> bool:
    """Tell whether ``folder`` is that of a complete pack."""
    return os.path.isfile(os.path.join(folder, INFO))


def read_info(folder: str | os.PathLike[str]) -> PackInfo:
    """Read ``pack.json``.

    Raises
    ------
    FileNotFoundError
        If the folder has none: the pack was not finished.
    DataError
        If it is damaged, or of a later version.
    """
    path = Path(folder) / INFO
    again = f"pack again: ladnet-fast pack MANIFEST --out {shlex.quote(str(folder))}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} does not exist: {folder} is no pack, or was not finished; {again}"
        ) from None
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); {again}") from error
    try:
        if content["format"] != FORMAT:
            raise DataError(
                f"{path} is of the format {content['format']!r}; this version reads {FORMAT}"
            )
        info = PackInfo(
            dtype=content["dtype"],
            shards={name: ShardInfo(**shard) for name, shard in content["shards"].items()},
            videos=int(content["videos"]),
            rows=int(content["rows"]),
            error=content["error"],
            origin=content["origin"],
        )
        if info.dtype not in DESCR:
            raise KeyError("dtype")
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is damaged (it lacks {error}); {again}") from error
    return info


def info_text(info: PackInfo) -> str:
    """Return what is written to ``pack.json``."""
    content = {
        "format": FORMAT,
        "dtype": info.dtype,
        "videos": info.videos,
        "rows": info.rows,
        "error": dict(info.error),
        "origin": dict(info.origin),
        "shards": {
            name: {field: getattr(shard, field) for field in ShardInfo.__slots__}
            for name, shard in info.shards.items()
        },
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def npy_header(descr: str, shape: tuple[int, int]) -> bytes:
    """Return the header of a ``.npy`` file (version 1.0), padded to a page of 4,096 bytes.

    Rows of 1,024 float32 are then a page each, and a row is read without its neighbours.
    """
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode("ascii")
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", _PAGE - 10)
    return start + text.ljust(_PAGE - 11) + b"\n"


def tail_digest(path: Path) -> str:
    """Return the SHA-256 of a file's last 64 KiB: what a copy that broke off lacks."""
    with path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
        return hashlib.sha256(file.read()).hexdigest()
