"""The training set: every crop of every video is one bag; a batch pads bags to one length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.utils.data import Dataset

from .._values import as_whole, choice, count, sequence, shown, switch
from ._arrays import hdf5_kept_open
from .features import (
    FeatureMatrix,
    align_query,
    count_crops,
    feature_width,
    load_crop,
    load_query,
    query_width,
)
from .memory_limit import MemoryLimit
from .sampling import BINS, MAX_SNIPPETS, bin_mean, linspace_sample
from .video import DataError, FeatureSource, Video, require_videos

Sampling = Literal["linspace", "bins", "none"]
CropChoice = Literal["all", "first"]


class Bag(NamedTuple):
    """One crop of one video: features (T, D) float32, label 0 or 1, query (T, Dq) or None."""

    features: Tensor
    label: int
    query: Tensor | None


class Batch(NamedTuple):
    """Bags padded with zeros to one length.

    ``features`` (B, T, D) float32, ``lengths`` (B,) int64 with the true lengths, ``labels`` (B,)
    float32 of 0 and 1, ``query`` (B, T, Dq) float32 or None.
    """

    features: Tensor
    lengths: Tensor
    labels: Tensor
    query: Tensor | None


class BagDataset(Dataset[Bag]):
    """Training samples: one for every crop of every video.

    Item i is a pure function of i, so that an epoch can be repeated and resumed.

    Parameters
    ----------
    videos : sequence of Video
        With or without queries, but all alike, and all features equally wide.
    sampling : "linspace", "bins" or "none"
        `linspace_sample` (the default of this method's released code), `bin_mean`, or the
        full length.
    size : int, optional
        Largest number of snippets with "linspace" (default 200); number of bins with "bins"
        (default 32). Not allowed with "none".
    crops : "all" or "first"
        Every crop is a sample, or only crop 0.
    preload : bool
        Read every sample at once and keep it in memory, for small sets on slow disks.
    memory : MemoryLimit, optional
        Keep samples in memory once they are read, as far as the limit allows; the others are read
        each time.

    Attributes
    ----------
    videos : list of Video
    samples : list of (int, int)
        Index of the video and of the crop, for every sample.
    labels : Tensor, (number of samples,), int64
    feature_dim, query_dim : int, int or None
        D and Dq, read from the first video.
    keeps_bags : bool
        Whether every sample is in memory.

    Raises
    ------
    ValueError
        If an argument is not allowed.
    DataError, FileNotFoundError
        If a video's label is not known; or from a feature file, here or when the sample is
        read; see `load_features`.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        *,
        sampling: Sampling = "linspace",
        size: int | None = None,
        crops: CropChoice = "all",
        preload: bool = False,
        memory: MemoryLimit | None = None,
    ) -> None:
        require_videos(videos)
        choice("sampling", sampling, get_args(Sampling))
        choice("crops", crops, get_args(CropChoice))
        preload = switch("preload", preload)
        if size is not None and sampling == "none":
            raise ValueError(
                f"size must be at least 1, and is for sampling 'linspace' and 'bins' only; "
                f"got size={shown(size)} with sampling={sampling!r}"
            )
        size = None if size is None else count("size", size)
        self.videos = list(videos)
        self.sampling = sampling
        self.size = size or (BINS if sampling == "bins" else MAX_SNIPPETS)
        self._check_queries()
        with hdf5_kept_open():
            self.samples = [
                (index, crop)
                for index, video in enumerate(self.videos)
                for crop in range(1 if crops == "first" else count_crops(video))
            ]
        self.labels = torch.tensor([self.videos[index].known_label for index, _ in self.samples])
        first = self.videos[0]
        self.feature_dim = feature_width(first)
        self.query_dim = query_width(first)
        self._memory = memory
        self._kept: dict[int, Bag] = {}
        self.keeps_bags = preload
        if preload:
            with hdf5_kept_open():
                self._kept = {index: self._read(index) for index in range(len(self))}

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Bag:
        index = range(len(self))[index]  # one from the end is the same bag
        bag = self._kept.get(index)
        if bag is None:
            bag = self._read(index)
            if self._memory is not None and self._memory.take(_bytes(bag)):
                self._kept[index] = bag
        return bag

    def _read(self, index: int) -> Bag:
        video_index, crop = self.samples[index]
        video = self.videos[video_index]
        features, query = align_query(video, load_crop(video, crop), load_query(video))
        source = video.features[crop if len(video.features) > 1 else 0]
        self._check_width(source, features, self.feature_dim)
        if query is not None and video.query is not None:
            self._check_width(video.query, query, self.query_dim)
        return Bag(
            torch.from_numpy(self._sample(features)),
            video.known_label,
            None if query is None else torch.from_numpy(self._sample(query)),
        )

    def _sample(self, matrix: FeatureMatrix) -> FeatureMatrix:
        if self.sampling == "linspace":
            return linspace_sample(matrix, self.size)
        return bin_mean(matrix, self.size) if self.sampling == "bins" else matrix

    def _check_queries(self) -> None:
        for video in self.videos:
            if (video.query is None) != (self.videos[0].query is None):
                with_query, without = sorted((video, self.videos[0]), key=lambda v: v.query is None)
                raise ValueError(
                    f"either every video or none has a query, but {with_query.name!r} has one "
                    f"and {without.name!r} has none"
                )

    def _check_width(self, source: FeatureSource, matrix: FeatureMatrix, width: int | None) -> None:
        if matrix.shape[1] != width:
            raise DataError(
                f"{source}: features are {matrix.shape[1]} wide, but those of the first video, "
                f"{self.videos[0].name!r}, are {width}; all must come from one extractor"
            )


def _bytes(bag: Bag) -> int:
    return bag.features.nbytes + (0 if bag.query is None else bag.query.nbytes)


def collate(bags: Sequence[Bag], *, pad_to: int | None = None) -> Batch:
    """Pad bags with zeros to one length; ``lengths`` keeps the true ones.

    Parameters
    ----------
    bags : sequence of Bag
        At least one, all of the same widths, with or without queries but all alike.
    pad_to : int, optional
        Length to pad to; default: the longest bag's. Give the sampling size for a constant
        shape.

    Returns
    -------
    Batch

    Raises
    ------
    ValueError
        If there is no bag, one is longer than ``pad_to``, or some have queries and some not.
    """
    if any(not isinstance(bag, Bag) for bag in sequence("bags", bags, "bags (Bag)")):
        raise ValueError(f"bags must hold nothing but Bag; got {shown(bags)}")
    if len(bags) == 0:
        raise ValueError("bags is empty: a batch needs at least one bag")
    lengths = [len(bag.features) for bag in bags]
    longest = max(lengths)
    padded = longest if pad_to is None else as_whole(pad_to)
    if padded is None or padded < longest:
        raise ValueError(
            f"pad_to must be at least the longest bag's {longest} snippets; got {shown(pad_to)}"
        )
    queries = [bag.query for bag in bags if bag.query is not None]
    if queries and len(queries) != len(bags):
        raise ValueError(
            f"bags must all have a query, or none; got {len(queries)} of {len(bags)} with one"
        )
    return Batch(
        _pad([bag.features for bag in bags], padded),
        torch.tensor(lengths),
        torch.tensor([float(bag.label) for bag in bags]),
        _pad(queries, padded) if queries else None,
    )


def _pad(matrices: Sequence[Tensor], length: int) -> Tensor:
    widths = sorted({matrix.shape[1] for matrix in matrices})
    if len(widths) > 1:
        raise ValueError(f"bags must have features, and queries, of one width; got {widths}")
    out = matrices[0].new_zeros(len(matrices), length, widths[0])
    for row, matrix in zip(out, matrices, strict=True):
        row[: len(matrix)] = matrix
    return out
