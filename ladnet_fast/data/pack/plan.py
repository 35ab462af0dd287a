"""Which rows go where, from the headers of the files alone."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from .._arrays import hdf5_kept_open
from ..features import (
    FeatureMatrix,
    count_crops,
    crop_shape,
    load_crop,
    load_query,
    query_shape,
)
from ..video import DataError, FeatureSource, Video
from .format import DESCR, Dtype

FEATURES, QUERIES = "features", "queries"


@dataclass(frozen=True, slots=True)
class Entry:
    """One crop of a video, or its query (``crop`` None), in a shard from row ``start`` on."""

    video: Video
    crop: int | None
    start: int
    rows: int

    @property
    def source(self) -> FeatureSource:
        """The file that the rows come from."""
        if self.crop is None:
            assert self.video.query is not None
            return self.video.query
        return self.video.features[self.crop if len(self.video.features) > 1 else 0]

    def load(self) -> FeatureMatrix:
        """Read the rows, (T, D) float32, checked."""
        if self.crop is None:
            query = load_query(self.video)
            assert query is not None
            return query
        return load_crop(self.video, self.crop)

    @property
    def key(self) -> str:
        """The rows as a manifest names them."""
        return f"{self.start}:{self.start + self.rows}"


@dataclass(slots=True)
class PlannedShard:
    """A shard that will be written: name, width, entries, and the states of its files by now."""

    name: str
    width: int
    entries: list[Entry] = field(default_factory=list)
    states: list[tuple[int, int]] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows of all entries."""
        return self.entries[-1].start + self.entries[-1].rows

    def content(self, dtype: Dtype) -> str:
        """Identify what will be written: the files, their sizes and times, and their order."""
        parts = [
            (os.path.abspath(entry.source.path), entry.source.key, entry.crop, entry.key, *state)
            for entry, state in zip(self.entries, self.states, strict=True)
        ]
        text = json.dumps([dtype, self.width, parts])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def state_of(source: FeatureSource) -> tuple[int, int]:
    """Return size and time of a source's file."""
    status = os.stat(source.path)
    return status.st_size, status.st_mtime_ns


def plan_shards(videos: Sequence[Video], dtype: Dtype, shard_bytes: int) -> list[PlannedShard]:
    """Deal crops and queries to shards, in the order of the videos.

    Raises
    ------
    DataError, FileNotFoundError
        From a file's header; if videos are of different widths, or some lack a query.
    """
    with hdf5_kept_open():
        shards = list(_dealt(_crops(videos), FEATURES, dtype, shard_bytes))
        if any(video.query is not None for video in videos):
            shards += _dealt(_queries(videos), QUERIES, dtype, shard_bytes)
    return shards


def _crops(videos: Sequence[Video]) -> Iterator[tuple[Video, int | None, int, int]]:
    for video in videos:
        first = crop_shape(video, 0)
        for crop in range(count_crops(video)):
            # The crops of one file have one header.
            shape = crop_shape(video, crop) if crop and len(video.features) > 1 else first
            if shape != first:
                raise DataError(
                    f"{video.name}: crop {crop} ({video.features[crop]}) has shape {shape}, but "
                    f"crop 0 has {first}; all crops of a video must have the same number of "
                    "snippets and width: extract them again"
                )
            yield video, crop, *shape


def _queries(videos: Sequence[Video]) -> Iterator[tuple[Video, int | None, int, int]]:
    for video in videos:
        shape = query_shape(video)
        if shape is None:
            raise DataError(
                f"either every video or none has a query, but {video.name!r} has none; fill the "
                "manifest's column query, or leave it out"
            )
        yield video, None, *shape


def _dealt(
    files: Iterator[tuple[Video, int | None, int, int]], what: str, dtype: Dtype, shard_bytes: int
) -> Iterator[PlannedShard]:
    size = np.dtype(DESCR[dtype]).itemsize
    shard: PlannedShard | None = None
    number, first = 0, None
    for video, crop, rows, width in files:
        first = first or (video.name, width)
        if width != first[1]:
            raise DataError(
                f"{video.name}: its {what} are {width} wide, but those of {first[0]!r} are "
                f"{first[1]}; all must come from one extractor"
            )
        if shard is not None and (shard.rows + rows) * width * size > shard_bytes:
            yield shard
            shard = None
        if shard is None:
            shard = PlannedShard(f"{what}-{number:04d}.npy", width)
            number += 1
        entry = Entry(video, crop, shard.rows if shard.entries else 0, rows)
        shard.states.append(state_of(entry.source))
        shard.entries.append(entry)
    if shard is not None:
        yield shard
