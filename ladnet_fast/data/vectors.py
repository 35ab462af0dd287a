"""Vectors of frame-level ground truth, and how they differ from annotations by content."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .._values import path as checked_path
from ._arrays import map_npy
from ._content import binary_kind
from ._conversions import beside, conversion, python_command
from ._text import read_text
from .video import DataError

FrameLabels = NDArray[np.uint8]
_ZERO_OR_ONE = re.compile(r"[01](?:\.0*)?(?:e[+-]?0+)?", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|nan|[+-]?inf", re.IGNORECASE)


def read_frame_labels(path: str | os.PathLike[str]) -> FrameLabels:
    """Read a vector of 0 and 1, one for each frame.

    Parameters
    ----------
    path : path-like
        ``.npy`` of any numeric or boolean dtype, (F,), (F, 1) or (1, F); or text of numbers
        separated by blanks, commas or line ends.

    Returns
    -------
    ndarray, (F,), uint8

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    DataError
        If it is of another format (the message says how to convert the common ones), corrupt,
        empty, of higher rank, or has a value other than 0 and 1.
    """
    path = checked_path("path", path)
    if not path.is_file():
        raise FileNotFoundError(f"ground truth {path} does not exist or is not a file")
    is_npy = path.suffix.lower() == ".npy"
    array = map_npy(path) if is_npy else _from_text(path, _truth_text(path))
    if array.size == 0 or array.size != max(array.shape, default=0):
        raise DataError(
            f"ground truth {path} has shape {array.shape}; expected (F,), a value for each frame"
        )
    vector = np.asarray(array).reshape(-1)
    if vector.dtype.kind not in "biuf":
        raise DataError(f"ground truth {path} has dtype {vector.dtype}; expected 0 and 1")
    wrong = np.flatnonzero((vector != 0) & (vector != 1))
    if wrong.size:
        raise DataError(
            f"ground truth {path}: frame {wrong[0]} is {vector[wrong[0]]}; "
            "only 0 (normal) and 1 (anomalous) are allowed"
        )
    return vector.astype(np.uint8)


def kind_of_truth(path: Path) -> Literal["vector", "annotations"]:
    """Return what a file of ground truth holds: a vector if that is certain, else annotations.

    A ``.npy`` file is a vector, and so is text that holds nothing but 0 and 1.

    Raises
    ------
    DataError
        If the file is of another format; the message says how to convert the common ones.
    """
    if path.suffix.lower() == ".npy":
        return "vector"
    text = _truth_text(path)
    fields = text.replace(",", " ").split()
    if all(_ZERO_OR_ONE.fullmatch(field) for field in fields):
        return "vector"
    _refuse_tables(path, text)
    numbers_only = all(_NUMBER.fullmatch(field) for field in fields)
    lines = [line.split() for line in text.split("\n")]
    # A video's name may be a number, and an odd line of whole numbers its annotation.
    if numbers_only and not any(
        len(line) > 2 and len(line) % 2 and all(re.fullmatch(r"-?\d+", field) for field in line)
        for line in lines
    ):
        wrong = next(i for i, field in enumerate(fields) if not _ZERO_OR_ONE.fullmatch(field))
        raise DataError(
            f"ground truth {path} holds numbers only, but frame {wrong} is {fields[wrong]}: a "
            "vector has 0 or 1 for each frame, and annotations begin with a video's name"
        )
    return "annotations"


def _from_text(path: Path, text: str) -> NDArray[Any]:
    fields = text.replace(",", " ").split()
    if not all(_ZERO_OR_ONE.fullmatch(field) for field in fields):
        _refuse_tables(path, text)
    strange = next((field for field in fields if not _NUMBER.fullmatch(field)), None)
    if strange is not None:
        raise DataError(
            f"ground truth {path} is neither .npy nor numbers: it holds {strange[:40]!r}"
        )
    return np.array([float(field) for field in fields])


def _truth_text(path: Path) -> str:
    """Return the text of a file of ground truth; raise with the remedy if it is not text."""
    kind = binary_kind(path) if path.is_file() else None
    if kind is None:
        return read_text(path, what="ground truth")
    remedy = conversion(kind, path, "vector") or "save its vector of 0 and 1 with numpy.save"
    raise DataError(f"ground truth {path} is {kind}, neither .npy nor text; {remedy}")


def _refuse_tables(path: Path, text: str) -> None:
    """Refuse JSON and CSV tables, with the command that converts what they hold."""
    if text.lstrip()[:1] in ("[", "{"):
        try:
            content = json.loads(text)
        except ValueError:
            content = None
        if content is not None:
            raise DataError(f"ground truth {path} is JSON, {_json_remedy(path, content)}")
    rows = [line.split(",") for line in text.split("\n") if line.strip()]
    width = len(rows[0]) if rows else 0
    if len(rows) < 2 or width < 2 or any(len(row) != width for row in rows):
        return
    columns = [
        column
        for column in range(width)
        if all(_ZERO_OR_ONE.fullmatch(row[column].strip()) for row in rows[1:])
    ]
    if not columns and path.suffix.lower() != ".csv":
        return  # names may hold commas
    what = f"ground truth {path} is a table of {width} columns, neither a vector nor annotations"
    if len(columns) != 1:
        raise DataError(f"{what}; save its column of 0 and 1, a value for each frame, as .npy")
    header = int(not _ZERO_OR_ONE.fullmatch(rows[0][columns[0]].strip()))
    program = (
        "import sys, numpy as np; np.save(sys.argv[2], np.loadtxt(sys.argv[1], delimiter=',', "
        f"skiprows={header}, usecols={columns[0]}, encoding='utf-8-sig'))"
    )
    raise DataError(
        f"{what}; column {columns[0] + 1} holds 0 and 1. If it has a value for each frame, the "
        f"videos end to end, convert it:\n  {python_command(program, path, beside(path))}"
    )


def _json_remedy(path: Path, content: object) -> str:
    load = "import sys, json, numpy as np; v = json.load(open(sys.argv[1], encoding='utf-8-sig'))"
    if isinstance(content, list) and content:
        save = "np.concatenate(v)" if all(isinstance(part, list) for part in content) else "v"
        program = f"{load}; np.save(sys.argv[2], {save})"
        command = python_command(program, path, beside(path))
        return f"neither .npy nor text; convert it:\n  {command}"
    if isinstance(content, dict) and content and not any(re.search(r"[\\/\0]", k) for k in content):
        program = f"{load}; [np.save(sys.argv[2] + '/' + k + '.npy', v[k]) for k in v]"
        return (
            f"an object with the keys {', '.join(list(content)[:3])}, ...; if each is a video's "
            "vector, save them as files for a manifest's column frame_labels:\n  "
            f"{python_command(program, path, path.parent)}"
        )
    return "neither .npy nor text; save its vector of 0 and 1 with numpy.save"
