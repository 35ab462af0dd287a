"""Loading snippet features: one float32 matrix per crop, checked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ladnet_fast.data._arrays import TEXT_SUFFIXES, open_array
from ladnet_fast.data.video import DataError, FeatureSource, Video

FeatureMatrix = NDArray[np.float32]


class Crop(NamedTuple):
    """Features (T, D) of one crop and, where the video has them, of its query (T, Dq)."""

    features: FeatureMatrix
    query: FeatureMatrix | None


def load_features(
    source: FeatureSource | str | os.PathLike[str], *, crop: int = 0
) -> FeatureMatrix:
    """Load the features of one crop.

    Parameters
    ----------
    source : FeatureSource or path-like
        ``.npy`` or HDF5 data set of shape (T, D) or (T, crops, D), or a text file of T rows;
        real numbers of any dtype.
    crop : int
        Index in the second axis of a (T, crops, D) array; 0 for a matrix, which is one crop.

    Returns
    -------
    ndarray, (T, D), float32, C-contiguous
        T >= 1 snippets; every value is finite.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    DataError
        If the file is corrupt, an object array, empty, of another rank or type, or holds a NaN
        or infinity; the message names the file and the row.
    ValueError
        If ``crop`` is out of range.
    """
    source = FeatureSource.parse(source)
    with open_array(source) as array:
        shape = _checked_shape(source, array)
        crops = shape[1] if len(shape) == 3 else 1
        if not 0 <= crop < crops:
            raise ValueError(f"{source}: crop must be in 0..{crops - 1}, got {crop}")
        part = array[:, crop] if len(shape) == 3 else array[:]
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


def feature_shape(source: FeatureSource | str | os.PathLike[str]) -> tuple[int, ...]:
    """Shape of a source, (T, D) or (T, crops, D), from its header where it has one."""
    source = FeatureSource.parse(source)
    with open_array(source) as array:
        return _checked_shape(source, array)


def count_crops(video: Video) -> int:
    """Count the crops that `iter_crops` yields for ``video``, from a header at most."""
    if len(video.features) > 1 or video.features[0].path.suffix.lower() in TEXT_SUFFIXES:
        return len(video.features)
    shape = feature_shape(video.features[0])
    return shape[1] if len(shape) == 3 else 1


def num_snippets(video: Video) -> int:
    """T of the features that `iter_crops` yields for ``video``, read from the headers."""
    length = feature_shape(video.features[0])[0]
    if video.query is None:
        return length
    return _aligned_length(video, length, feature_shape(video.query)[0])


def load_crop(video: Video, crop: int) -> FeatureMatrix:
    """Load crop ``crop`` of ``video``, wherever it is stored."""
    if len(video.features) == 1:
        return load_features(video.features[0], crop=crop)
    if not 0 <= crop < len(video.features):
        raise ValueError(f"{video.name}: crop must be in 0..{len(video.features) - 1}, got {crop}")
    source = video.features[crop]
    if len(feature_shape(source)) != 2:
        raise DataError(
            f"{source}: shape {feature_shape(source)} holds several crops, but {video.name} has "
            "one file per crop; list only one file of shape (T, crops, D) for a video"
        )
    return load_features(source)


def load_query(video: Video) -> FeatureMatrix | None:
    """Load the features of the second modality, or None where ``video`` has none."""
    return None if video.query is None else load_features(video.query)


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
            f"{source}: shape {shape} is neither (T, D), a row per snippet, nor (T, crops, D), "
            "with at least one of each"
        )
    if array.dtype.kind not in "fiu":
        raise DataError(f"{source}: features must be real numbers, got dtype {array.dtype}")
    return shape
