"""Reading a video's files once, a block of rows at a time, and noting what they hold."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._arrays import open_array
from ..axes import crop_axis
from ..features import feature_shape
from ..video import Axes, DataError, FeatureSource, Video

_BLOCK_VALUES = 1 << 22


@dataclass(slots=True)
class Matrix:
    """One crop (or query) of a video: its shape, its odd rows, its scale, its content's digest."""

    source: FeatureSource
    crop: int
    snippets: int
    width: int
    not_finite: int = 0
    first_not_finite: int = -1
    zero: int = 0
    constant: int = 0
    norms: float = 0.0
    digest: str = ""

    @property
    def mean_norm(self) -> float:
        """Mean Euclidean norm of the rows that are finite; NaN where none is."""
        rows = self.snippets - self.not_finite
        return self.norms / rows if rows else float("nan")


@dataclass(slots=True)
class Reading:
    """What the files of a video hold; ``problems`` are those that can't be read, with reasons."""

    video: Video
    crops: list[Matrix] = field(default_factory=list)
    query: Matrix | None = None
    problems: list[tuple[str, str]] = field(default_factory=list)  # kind, text

    @property
    def snippets(self) -> int | None:
        """Number of snippets that scoring would see, or None where it isn't known."""
        if self.problems or not self.crops or len({m.snippets for m in self.crops}) > 1:
            return None
        length = self.crops[0].snippets
        return length if self.query is None else min(length, self.query.snippets)


def read_video(video: Video) -> Reading:
    """Read every file of ``video`` once; problems are noted in the result, not raised."""
    reading = Reading(video)
    several = len(video.features) > 1
    for index, source in enumerate(video.features):
        matrices = _attempt(reading, source, video.axes, single=several)
        for matrix in matrices:
            matrix.crop = index if several else matrix.crop
        reading.crops += matrices
    if video.query is not None:
        found = _attempt(reading, video.query, video.axes, single=True)
        reading.query = found[0] if found else None
    return reading


def _attempt(
    reading: Reading, source: FeatureSource, axes: Axes | None, *, single: bool
) -> list[Matrix]:
    try:
        return _read(source, axes, single=single)
    except FileNotFoundError as error:
        reading.problems.append(("missing", str(error)))
    except _AxesError as error:
        reading.problems.append(("axes", str(error)))
    except (DataError, OSError) as error:
        reading.problems.append(("unreadable", str(error)))
    return []


class _AxesError(DataError):
    """The axis of the crops is unknown, or there are several crops where one is allowed."""


def _read(source: FeatureSource, axes: Axes | None, *, single: bool) -> list[Matrix]:
    with open_array(source) as array:
        shape = tuple(int(n) for n in array.shape)
        if len(shape) not in (2, 3) or 0 in shape or array.dtype.kind not in "fiu":
            feature_shape(source)  # says what is wrong
        axis = _axis(shape, axes, source, single=single)
        if axis is None:
            crops, snippets = 1, shape[0]
        else:
            crops, snippets = shape[axis], shape[axis ^ 1]
        matrices = [Matrix(source, crop, snippets, shape[-1]) for crop in range(crops)]
        digests = [hashlib.sha256(f"{snippets}x{shape[-1]}".encode()) for _ in range(crops)]
        rows = max(1, _BLOCK_VALUES // (crops * shape[-1]))
        for start in range(0, snippets, rows):
            part = array[:, start : start + rows] if axis == 0 else array[start : start + rows]
            with np.errstate(over="ignore"):  # float64 beyond float32's range counts as infinite
                block = np.asarray(part, dtype=np.float32)
            if axis is None:
                block = block[None]
            elif axis == 1:
                block = block.swapaxes(0, 1)
            for matrix, digest, values in zip(matrices, digests, block, strict=True):
                _look_at(matrix, digest, np.ascontiguousarray(values), start)
    for matrix, digest in zip(matrices, digests, strict=True):
        matrix.digest = digest.hexdigest()
    return matrices


def _axis(
    shape: tuple[int, ...], axes: Axes | None, source: FeatureSource, *, single: bool
) -> int | None:
    if single and len(shape) == 3:
        if 1 not in shape[:2]:
            raise _AxesError(
                f"{source}: shape {shape} holds several crops where one file per crop, or a query, "
                "has (T, D); list the file alone, or split it"
            )
        return 1 if shape[1] == 1 else 0
    try:
        return crop_axis(shape, axes, source)
    except DataError as error:
        raise _AxesError(str(error)) from error


def _look_at(matrix: Matrix, digest: Any, values: NDArray[np.float32], start: int) -> None:
    digest.update(values.tobytes())
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        wrong = np.flatnonzero(~finite)
        if not matrix.not_finite:
            matrix.first_not_finite = start + int(wrong[0])
        matrix.not_finite += len(wrong)
        values = values[finite]
    low, high = values.min(axis=1, initial=np.inf), values.max(axis=1, initial=-np.inf)
    same = low == high
    zero = same & (low == 0)
    matrix.zero += int(zero.sum())
    if values.shape[1] > 1:
        matrix.constant += int((same & ~zero).sum())
    matrix.norms += float(np.sqrt(np.einsum("td,td->t", values, values, dtype=np.float64)).sum())
