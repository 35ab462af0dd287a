"""Loading snippet features: one float32 matrix per crop, checked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._records import verify
from .._values import as_whole, shown
from ._arrays import TEXT_SUFFIXES, open_array
from ._conversions import reshape_command
from .axes import crop_axis
from .video import Axes, DataError, FeatureSource, Video, check_axes

FeatureMatrix = NDArray[np.float32]


class Crop(NamedTuple):
    """Features (T, D) of one crop and, where the video has them, of its query (T, Dq)."""

    features: FeatureMatrix
    query: FeatureMatrix | None


def load_features(
    source: FeatureSource | str | os.PathLike[str], *, crop: int = 0, axes: Axes | None = None
) -> FeatureMatrix:
    """Load the features of one crop.

    Parameters
    ----------
    source : FeatureSource or path-like
        ``.npy`` or HDF5 data set of shape (T, D), (T, crops, D) or (crops, T, D), or a text file
        of T rows; real numbers of any dtype.
    crop : int
        Which crop; 0 for a matrix, which is one.
    axes : "snippets,crops" or "crops,snippets", optional
        Order of the first two axes of three. Default: by shape, where that is certain; see
        `ladnet_fast.data.axes.crop_axis`.

    Returns
    -------
    ndarray, (T, D), float32, C-contiguous
        T >= 1 snippets; every value is finite.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    DataError
        If the file is corrupt, an object array, empty, of another rank or type, holds a NaN
        or infinity, or it is unknown which axis holds the crops; the message names the file and
        the row.
    ValueError
        If ``crop`` is out of range, or ``axes`` unknown.
    """
    source = FeatureSource.parse(source)
    check_axes(axes)
    if source.key is None and source.path.is_file():
        verify(source.path)  # a file of this package must have the bytes that were written
    with open_array(source) as array:
        shape = _checked_shape(source, array)
        axis = crop_axis(shape, axes, source)
        crops = 1 if axis is None else shape[axis]
        crop = _checked_crop(str(source), crop, crops)
        part = array[:] if axis is None else array[crop] if axis == 0 else array[:, crop]
        with np.errstate(over="ignore"):  # float64 beyond float32's range: reported below
            features = np.array(part, dtype=np.float32, order="C")
    finite = np.isfinite(features)
    if not finite.all():
        row, column = (int(i[0]) for i in np.nonzero(~finite))
        raise DataError(
            f"{source}{f' (crop {crop})' if crops > 1 else ''}: row {row}, column {column} is "
            f"{features[row, column]} as float32; {int((~finite).any(axis=1).sum())} of "
            f"{len(features)} rows hold a NaN or infinity; extract the features again"
        )
    return features


def feature_shape(
    source: FeatureSource | str | os.PathLike[str], *, axes: Axes | None = None
) -> tuple[int, ...]:
    """Return a source's shape, (T, D) or (T, crops, D) in that order, from its header if possible.

    ``axes`` and what is raised are as in `load_features`.
    """
    source = FeatureSource.parse(source)
    check_axes(axes)
    shape = _stored_shape(source)
    return _swapped(shape) if crop_axis(shape, axes, source) == 0 else shape


def count_crops(video: Video) -> int:
    """Count the crops that `iter_crops` yields for ``video``, from a header at most."""
    if len(video.features) > 1 or video.features[0].path.suffix.lower() in TEXT_SUFFIXES:
        return len(video.features)
    shape = _shape_of(video)
    return shape[1] if len(shape) == 3 else 1


def num_snippets(video: Video) -> int:
    """Return T of the features that `iter_crops` yields for ``video``, read from the headers."""
    length = _shape_of(video)[0]
    if video.query is None:
        return length
    return _aligned_length(video, length, _single_crop(video, video.query)[0][0])


def feature_width(video: Video) -> int:
    """Return D of the features that `iter_crops` yields for ``video``, read from a header."""
    return _shape_of(video)[-1]


def query_width(video: Video) -> int | None:
    """Return Dq of the second modality's features, or None where ``video`` has none."""
    return None if video.query is None else _single_crop(video, video.query)[0][-1]


def crop_shape(video: Video, crop: int) -> tuple[int, int]:
    """Return (T, D) of a crop's own features, read from a header."""
    if len(video.features) == 1:
        shape = feature_shape(video.features[0], axes=video.axes)
    else:
        shape = _single_crop(video, video.features[crop])[0]
    return shape[0], shape[-1]


def query_shape(video: Video) -> tuple[int, int] | None:
    """Return (T, Dq) of the second modality's own features; None where ``video`` has none."""
    if video.query is None:
        return None
    shape = _single_crop(video, video.query)[0]
    return shape[0], shape[-1]


def load_crop(video: Video, crop: int) -> FeatureMatrix:
    """Load crop ``crop`` of ``video``, wherever it is stored."""
    if len(video.features) == 1:
        return load_features(video.features[0], crop=crop, axes=video.axes)
    crop = _checked_crop(video.name, crop, len(video.features))
    source = video.features[crop]
    return load_features(source, axes=_single_crop(video, source)[1])


def load_query(video: Video) -> FeatureMatrix | None:
    """Load the features of the second modality, or None where ``video`` has none."""
    if video.query is None:
        return None
    return load_features(video.query, axes=_single_crop(video, video.query)[1])


def _checked_crop(where: str, crop: int, crops: int) -> int:
    number = as_whole(crop)
    if number is None or not 0 <= number < crops:
        raise ValueError(f"{where}: crop must be in 0..{crops - 1}; got {shown(crop)}")
    return number


def _shape_of(video: Video) -> tuple[int, ...]:
    """Return the shape of the first source: (T, D), or (T, crops, D)."""
    if len(video.features) > 1:
        return _single_crop(video, video.features[0])[0]
    return feature_shape(video.features[0], axes=video.axes)


def _single_crop(video: Video, source: FeatureSource) -> tuple[tuple[int, ...], Axes | None]:
    """Return shape and axes of a source that must be one crop: the axis of length 1 is the crop."""
    shape = _stored_shape(source)
    if len(shape) == 2:
        return shape, None
    if 1 not in shape[:2]:
        what = "a query, which serves all crops," if source == video.query else "one file per crop"
        raise DataError(
            f"{source}: shape {shape} holds several crops, but {video.name} has {what} of shape "
            "(T, D); only a video's single file may hold several"
        )
    if shape[1] == 1:
        return shape, "snippets,crops"
    return _swapped(shape), "crops,snippets"


def _swapped(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[1], shape[0], shape[2])


def _stored_shape(source: FeatureSource) -> tuple[int, ...]:
    with open_array(source) as array:
        return _checked_shape(source, array)


def align_query(video: Video, features: FeatureMatrix, query: FeatureMatrix | None) -> Crop:
    """Give features and query the same length: where they differ by one, the longer loses a row.

    Audio and video are cut into snippets by different programs, which round differently.

    Raises
    ------
    DataError
        If the lengths differ by more than one.
    """
    if query is None:
        return Crop(features, None)
    length = _aligned_length(video, len(features), len(query))
    return Crop(features[:length], query[:length])


def iter_crops(video: Video) -> Iterator[Crop]:
    """Yield every crop of ``video`` with its query, one at a time to bound memory.

    Raises
    ------
    DataError
        As in `load_features`; also where crops differ in T or D, and where the query's length
        differs by more than one snippet.
    """
    query = load_query(video)
    expected: tuple[int, ...] | None = None
    for index in range(count_crops(video)):
        features = load_crop(video, index)
        if expected is None:
            expected = features.shape
        elif features.shape != expected:
            raise DataError(
                f"{video.name}: crop {index} ({video.features[index]}) has shape "
                f"{features.shape}, but crop 0 ({video.features[0]}) has {expected}; all crops "
                "of a video must have the same number of snippets and width: extract them again"
            )
        yield align_query(video, features, query)


def _aligned_length(video: Video, length: int, query_length: int) -> int:
    if abs(length - query_length) > 1:
        raise DataError(
            f"{video.name}: {video.features[0]} has {length} snippets, but its query "
            f"{video.query} has {query_length}; they may differ by one at most: "
            "are they from the same video, and of the same snippet length?"
        )
    return min(length, query_length)


def _checked_shape(source: FeatureSource, array: Any) -> tuple[int, ...]:
    shape = tuple(int(n) for n in array.shape)
    if len(shape) not in (2, 3) or 0 in shape:
        raise DataError(
            f"{source}: shape {shape} is neither (T, D), a row per snippet, nor (T, crops, D) or "
            f"(crops, T, D), with at least one of each{_without_extra_axes(source, shape)}"
        )
    if array.dtype.kind not in "fiu":
        raise DataError(f"{source}: features must be real numbers; got dtype {array.dtype}")
    return shape


def _without_extra_axes(source: FeatureSource, shape: tuple[int, ...]) -> str:
    """Say how to remove axes of length 1, where features are left then."""
    if len(shape) < 4 or 0 in shape:
        return ""
    kept = [*(n for n in shape[:-1] if n > 1), shape[-1]]
    if len(kept) not in (2, 3):
        return ""
    remedy = f"; remove the axes of length 1, which leaves {tuple(kept)}"
    if source.path.suffix.lower() == ".npy":
        remedy += f":\n  {reshape_command(source.path, tuple(kept))}"
    return remedy
