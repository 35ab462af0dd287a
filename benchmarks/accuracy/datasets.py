"""A data set as the benchmark needs it: bags in memory, and the truth by snippet."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ladnet_fast.data import (
    BagDataset,
    DataError,
    Video,
    iter_crops,
    num_snippets,
    read_manifest,
    split_by_fold,
)
from ladnet_fast.engine import GroundTruth, TrainingConfig
from ladnet_fast.metrics import frame_scores

#: Splits that are tested: the first that has videos. The second is the demo's.
TESTED = ("test", "held-out")


@dataclass(frozen=True, slots=True)
class Part:
    """Videos to train on and videos that are tested with the result."""

    train: tuple[Video, ...]
    test: tuple[Video, ...]


@dataclass(frozen=True, slots=True)
class Truth:
    """How many frames of every test snippet are anomalous, and how many are not.

    All arrays but ``labels`` have an entry for each snippet, video after video.
    """

    anomalous: NDArray[np.float64]
    normal: NDArray[np.float64]
    video: NDArray[np.int64]  # index of the snippet's video
    labels: NDArray[np.int64]  # of the videos


@dataclass(frozen=True, slots=True)
class DataSet:
    """A manifest's videos, cut into parts: one for a train/test split, or one a fold."""

    name: str
    parts: tuple[Part, ...]
    truth: Truth
    digest: str  # of names, labels, features and truth

    @property
    def tested(self) -> list[Video]:
        """All test videos, in the order of the scores and of the truth."""
        return [video for part in self.parts for video in part.test]


def name_of(source: str) -> tuple[str, Path]:
    """Read ``NAME=MANIFEST`` or ``MANIFEST``, whose name is then that of its folder."""
    name, separator, path = source.partition("=")
    if separator and name and "/" not in name:
        return name, Path(path)
    manifest = Path(source)
    return manifest.resolve().parent.name, manifest


def load(source: str) -> DataSet:
    """Read a manifest with truth.

    Videos of the split "test" (or "held-out", as the demo calls it) are tested with what those of
    "train" taught; where no video has a split, every fold is tested with what the others taught,
    and the scores are pooled.

    Raises
    ------
    FileNotFoundError
        If a file does not exist.
    DataError
        If there is neither a split nor folds, a class is missing, or test videos have no truth.
    """
    name, path = name_of(source)
    videos = read_manifest(path)
    parts = _parts(videos, path)
    for part in parts:
        for role, members in (("train on", part.train), ("test with", part.test)):
            labels = {video.known_label for video in members}
            if role == "train on" and len(labels) < 2:
                raise DataError(
                    f"{path}: all {len(members)} videos to train on have label {labels.pop()}; "
                    "both classes are needed: 0 (normal) and 1 (anomalous)"
                )
    tested = [video for part in parts for video in part.test]
    for video in tested:
        if video.label == 1 and video.frame_labels is None:
            raise DataError(
                f"{path}: the test video {video.name!r} is anomalous and has no truth; name a "
                "file with 0 or 1 for each frame in the manifest's column frame_labels"
            )
    return DataSet(name, parts, _truth(tested, path), _digest(parts, tested))


def _parts(videos: Sequence[Video], path: Path) -> tuple[Part, ...]:
    if any(video.split is not None for video in videos):
        present = {video.split for video in videos}
        tested = next((split for split in TESTED if split in present), TESTED[0])
        members = {
            split: tuple(video for video in videos if video.split == split)
            for split in ("train", tested)
        }
        for split, found in members.items():
            if not found:
                splits = sorted({str(video.split) for video in videos})
                raise DataError(
                    f"{path}: no video has split {split!r} (the splits are: {', '.join(splits)}); "
                    "write train or test into the column split"
                )
        return (Part(members["train"], members[tested]),)
    folds = sorted({video.fold for video in videos if video.fold is not None})
    if len(folds) < 2 or any(video.fold is None for video in videos):
        raise DataError(
            f"{path}: there is nothing to test with; fill the column split with train and test, "
            "or the column fold with at least two folds"
        )
    return tuple(Part(*map(tuple, split_by_fold(videos, fold))) for fold in folds)


def _truth(videos: Sequence[Video], path: Path) -> Truth:
    lengths = [num_snippets(video) for video in videos]
    frames = GroundTruth().load(videos, lengths)
    anomalous, normal = [], []
    for video, labels, length in zip(videos, frames, lengths, strict=True):
        snippet = frame_scores(np.arange(length), video.frames_per_snippet, len(labels)).astype(int)
        anomalous.append(np.bincount(snippet, labels, length))
        normal.append(np.bincount(snippet, 1 - labels.astype(float), length))
    truth = Truth(
        np.concatenate(anomalous),
        np.concatenate(normal),
        np.repeat(np.arange(len(videos)), lengths),
        np.array([video.known_label for video in videos]),
    )
    for kind, count in (("anomalous", truth.anomalous.sum()), ("normal", truth.normal.sum())):
        if not count:
            raise DataError(
                f"{path}: no frame of the {len(videos)} test videos is {kind}; a ranking figure "
                "needs both kinds"
            )
    return truth


def _digest(parts: Sequence[Part], tested: Sequence[Video]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        for members in (part.train, part.test):
            digest.update(repr([(video.name, video.label) for video in members]).encode())
    seen: set[Path] = set()
    for video in (*parts[0].train, *tested):
        files = [source.path for source in video.features]
        files += [] if video.frame_labels is None else [video.frame_labels]
        for file in files:
            if file not in seen:
                seen.add(file)
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


class Bags:
    """All crops of some videos at full length, to be scored in batches of similar length."""

    def __init__(self, videos: Sequence[Video], *, batch: int = 8192) -> None:
        self.lengths = [num_snippets(video) for video in videos]
        rows = [
            (index, torch.from_numpy(crop.features))
            for index, video in enumerate(videos)
            for crop in iter_crops(video)
        ]
        self.crops = np.bincount([index for index, _ in rows])
        rows.sort(key=lambda row: len(row[1]))
        self.batches: list[list[tuple[int, torch.Tensor]]] = [[]]
        for row in rows:
            if (len(self.batches[-1]) + 1) * len(row[1]) > batch and self.batches[-1]:
                self.batches.append([])
            self.batches[-1].append(row)

    def padded(self) -> list[tuple[list[int], torch.Tensor, torch.Tensor]]:
        """Return for every batch: the videos' indices, features (B, T, D) and lengths (B,)."""
        return [
            (
                [index for index, _ in batch],
                torch.nn.utils.rnn.pad_sequence([rows for _, rows in batch], batch_first=True),
                torch.tensor([len(rows) for _, rows in batch]),
            )
            for batch in self.batches
        ]


def training_bags(videos: Sequence[Video], training: TrainingConfig) -> BagDataset:
    """Return the training samples in memory, as the engine makes them."""
    return BagDataset(
        videos,
        sampling=training.sampling,
        size=training.snippets,
        crops=training.crops,
        preload=True,
    )
