"""Whole batches at a time: padded, or packed end to end; from packs straight into the batch."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from .bags import Bag, BagDataset, Batch, collate
from .features import num_snippets
from .pack.format import rows_of
from .pack.shards import Shard, open_rows, open_shard
from .sampling import bin_mean, linspace_indices
from .video import DataError, FeatureSource


class PackedBatch(NamedTuple):
    """Bags of their own lengths, packed end to end: no padding.

    ``features`` (1, total, D) float32, ``cu_seqlens`` (B + 1,) int64: bag n from cu_seqlens[n] to
    cu_seqlens[n + 1], ``labels`` (B,) float32 of 0 and 1, ``query`` (1, total, Dq) float32 or None.
    """

    features: Tensor
    cu_seqlens: Tensor
    labels: Tensor
    query: Tensor | None


def pack_bags(bags: Sequence[Bag]) -> PackedBatch:
    """Pack bags end to end, as `collate` pads them."""
    lengths = [len(bag.features) for bag in bags]
    queries = [bag.query for bag in bags if bag.query is not None]
    return PackedBatch(
        torch.cat([bag.features for bag in bags])[None],
        _offsets(lengths),
        torch.tensor([float(bag.label) for bag in bags]),
        torch.cat(queries)[None] if queries else None,
    )


class BatchReader(Dataset[Batch | PackedBatch]):
    """The batches of a `BagDataset` by the numbers of their samples; for a ``DataLoader``.

    The rows of a pack go from the mapped file into the batch, in one copy; other files are read
    into bags first. The batches are the same, bit for bit.

    Parameters
    ----------
    dataset : BagDataset
        The samples.
    packed : bool
        `PackedBatch` instead of `Batch`.
    """

    def __init__(self, dataset: BagDataset, *, packed: bool = False) -> None:
        self.dataset, self.packed = dataset, packed
        self._features: _Ranges | None = None
        self._queries: _Ranges | None = None
        self._buffers = _Buffers()
        if from_pack(dataset) and not dataset.keeps_bags:
            sources, queries = _sources(dataset)
            self._features = _Ranges(sources, dataset.feature_dim, dataset)
            if dataset.query_dim is not None:
                self._queries = _Ranges(queries, dataset.query_dim, dataset)
                _align(self._features, self._queries, dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Batch | PackedBatch:
        return self.__getitems__([index])

    def __getitems__(self, samples: Sequence[int]) -> Batch | PackedBatch:
        """Return the batch of these samples; what ``DataLoader`` calls."""
        if self._features is None:
            bags = [self.dataset[sample] for sample in samples]
            return pack_bags(bags) if self.packed else collate(bags)
        lengths = [self._features.sampled_length(sample) for sample in samples]
        labels = self.dataset.labels[list(samples)].float()
        features = self._fill(self._features, samples, lengths)
        query = None if self._queries is None else self._fill(self._queries, samples, lengths)
        if self.packed:
            return PackedBatch(features, _offsets(lengths), labels, query)
        return Batch(features, torch.tensor(lengths), labels, query)

    def _fill(self, ranges: _Ranges, samples: Sequence[int], lengths: Sequence[int]) -> Tensor:
        if self.packed:
            out = self._buffers.take(1, sum(lengths), ranges.width)
            places = out[0].split(list(lengths))
        else:
            out = self._buffers.take(len(samples), max(lengths), ranges.width)
            places = tuple(row[:length] for row, length in zip(out, lengths, strict=True))
            for row, length in zip(out, lengths, strict=True):
                row[length:] = 0
        ranges.prefetch(samples)
        for sample, place in zip(samples, places, strict=True):
            ranges.put(sample, place.numpy())
        return out


def sample_lengths(dataset: BagDataset) -> list[int]:
    """Return the snippets of every sample as it will be in a batch, from the files' headers."""
    of_video: dict[int, int] = {}
    for index, _ in dataset.samples:
        if index not in of_video:
            of_video[index] = _sampled(dataset, num_snippets(dataset.videos[index]))
    return [of_video[index] for index, _ in dataset.samples]


def from_pack(dataset: BagDataset) -> bool:
    """Tell whether all features and queries of a data set are rows of packs."""
    return all(
        rows_of(source) is not None
        for video in dataset.videos
        for source in (*video.features, *(() if video.query is None else (video.query,)))
    )


class _Buffers:
    """Memory of earlier batches, used again once nobody holds them.

    Fresh memory is the most expensive part of a batch: the system clears it page by page. A tensor
    made from an array holds a reference to it, and so does everything made from the tensor; an
    array without such references is free.
    """

    _MOST = 4

    def __init__(self) -> None:
        self._arrays = [np.empty(0, np.float32)]
        self._alone = sys.getrefcount(self._arrays[0])

    def take(self, *shape: int) -> Tensor:
        """Return a tensor of this shape; its values are whatever was there."""
        size = math.prod(shape)
        free = [
            i for i in range(len(self._arrays)) if sys.getrefcount(self._arrays[i]) == self._alone
        ]
        fitting = [i for i in free if size <= self._arrays[i].size]
        if fitting:
            array = self._arrays[min(fitting, key=lambda i: self._arrays[i].size)]
        else:
            if free:  # too small: a larger one serves both
                del self._arrays[free[0]]
            array = np.empty(size, np.float32)
            if len(self._arrays) < self._MOST:
                self._arrays.append(array)
        return torch.from_numpy(array)[:size].view(shape)

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return _Buffers, ()  # each process has its own


class _Ranges:
    """Where the rows of every sample lie, in arrays: 16,000 samples take some hundred kilobytes."""

    def __init__(self, sources: Sequence[FeatureSource], width: int, dataset: BagDataset) -> None:
        self.width, self.dataset = width, dataset
        self.paths = list(dict.fromkeys(source.path for source in sources))
        number = {path: i for i, path in enumerate(self.paths)}
        self.shard = np.array([number[source.path] for source in sources])
        rows = [open_rows(source) for source in sources]
        self.start = np.array([part.start for part in rows])
        self.length = np.array([part.stop - part.start for part in rows])
        self._seen = np.zeros(len(sources), bool)
        self._fits = sum(path.stat().st_size for path in self.paths) < _memory_bytes() / 2
        for path in self.paths:
            found = open_shard(path).stored.shape[1]
            if found != width:
                raise DataError(
                    f"{path}: features are {found} wide, but those of the first video, "
                    f"{dataset.videos[0].name!r}, are {width}; all must come from one extractor"
                )

    def sampled_length(self, sample: int) -> int:
        return _sampled(self.dataset, int(self.length[sample]))

    def put(self, sample: int, out: NDArray[np.float32]) -> None:
        """Write a sample's rows, sampled, into ``out``."""
        shard, start, length = self._range(sample)
        if length <= _AHEAD * len(out):
            shard.map_now(start, start + length)
        if self.dataset.sampling == "bins":
            out[...] = bin_mean(shard.read(start, start + length), self.dataset.size)
        elif len(out) == length:
            shard.put(slice(start, start + length), out)
        else:
            shard.put(start + _indices(length, self.dataset.size), out)

    def prefetch(self, samples: Sequence[int]) -> None:
        """Tell the system which rows come next, so that the disk works ahead of the copies."""
        for sample in samples:
            if self._seen[sample]:
                continue  # read before, and memory holds all files
            self._seen[sample] = self._fits
            shard, start, length = self._range(sample)
            # Only a few rows of a long bag are read: reading ahead would fetch all of it.
            if length <= _AHEAD * self.sampled_length(sample):
                shard.will_need(start, start + length)

    def _range(self, sample: int) -> tuple[Shard, int, int]:
        shard = open_shard(self.paths[self.shard[sample]])
        return shard, int(self.start[sample]), int(self.length[sample])


# A bag is read whole if it has at most this many times the rows that a batch takes of it.
_AHEAD = 8


def _memory_bytes() -> float:
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # another system
        return 0.0


@lru_cache(maxsize=4096)
def _indices(length: int, size: int) -> NDArray[np.int64]:
    return linspace_indices(length, size)


def _sampled(dataset: BagDataset, length: int) -> int:
    if dataset.sampling == "bins":
        return dataset.size
    return min(length, dataset.size) if dataset.sampling == "linspace" else length


def _sources(dataset: BagDataset) -> tuple[list[FeatureSource], list[FeatureSource]]:
    features, queries = [], []
    for index, crop in dataset.samples:
        video = dataset.videos[index]
        features.append(video.features[crop if len(video.features) > 1 else 0])
        if video.query is not None:
            queries.append(video.query)
    return features, queries


def _align(features: _Ranges, queries: _Ranges, dataset: BagDataset) -> None:
    """Let the longer of the two lose its last row, as `align_query` does."""
    wrong = np.flatnonzero(np.abs(features.length - queries.length) > 1)
    if len(wrong):
        num_snippets(dataset.videos[dataset.samples[wrong[0]][0]])  # raises, and names both
    features.length = queries.length = np.minimum(features.length, queries.length)


def _offsets(lengths: Sequence[int]) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0)
