"""Writing a pack: shard by shard, each complete or absent; ``pack.json`` comes last."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from ..._files import remove_leftovers
from ..._locks import folder_lock
from ..._outputs import check_outputs
from ..._records import Record, record_of, record_path, record_text, recorded, wrote
from ..._values import choice, count
from ..._values import path as checked_path
from .._arrays import hdf5_kept_open
from ..manifest import MANIFEST, write_manifest
from ..vectors import read_frame_labels
from ..video import (
    DataError,
    FeatureSource,
    Video,
    files_of,
    require_unique_names,
    require_videos,
)
from .format import (
    DESCR,
    INFO,
    KIND,
    TRUTH,
    Dtype,
    PackInfo,
    ShardInfo,
    info_text,
    npy_header,
    tail_digest,
)
from .origin import common_origin
from .plan import FEATURES, QUERIES, Entry, PlannedShard, plan_shards, state_of

Progress = Callable[[str, int, int | None], None]
SHARD_BYTES = 4 << 30


def write_pack(
    videos: Sequence[Video],
    folder: str | os.PathLike[str],
    *,
    dtype: Dtype = "float32",
    shard_bytes: int = SHARD_BYTES,
    inputs: Iterable[str | os.PathLike[str]] = (),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> PackInfo:
    """Write the features of a data set into a few files that are mapped into memory.

    Labels, classes, splits, folds, crops, queries and ground truth carry over: the folder's
    ``videos.csv`` is a manifest, and the folder may be given wherever a manifest is. What an
    earlier call has left, killed or not, stays where it would come out the same.

    Parameters
    ----------
    videos : sequence of Video
        With files in any format that features are read from.
    folder : path-like
        Created if needed.
    dtype : "float32", "float16" or "bfloat16"
        "float32" keeps what `load_features` gives, bit for bit; the others halve the size, and
        `PackInfo.error` says by how much they round.
    shard_bytes : int
        Largest size of a shard; one crop is never divided.
    inputs : iterable of path-like
        Files beside the videos' own that have been read, such as the manifest.
    overwrite : bool
        Replace files in the folder that this package did not write.
    progress : callable, optional
        Called with ``(name, done, total)`` before each crop.

    Returns
    -------
    PackInfo

    Raises
    ------
    DataError, FileNotFoundError
        From a file of features; where one changes meanwhile; if a value is too large for float16.
    OutputError
        If a file is in the way, or an output is an input.
    OSError
        If the disk is full; before anything is written where that can be known.
    """
    require_videos(videos)
    require_unique_names(videos)
    folder = checked_path("folder", folder)
    choice("dtype", dtype, get_args(Dtype))
    shard_bytes = count("shard_bytes", shard_bytes, most=None)
    shards = plan_shards(videos, dtype, shard_bytes)
    truth = {
        video.name: folder / TRUTH / f"{video.name}.npy"
        for video in videos
        if video.frame_labels is not None
    }
    outputs = [folder / shard.name for shard in shards]
    outputs += [*truth.values(), folder / MANIFEST, folder / INFO]
    read = [*inputs, *set(files_of(videos))]
    check_outputs(outputs, read, kinds=[KIND], overwrite=overwrite)
    with folder_lock(folder, "packing"):
        for place in {path.parent for path in outputs if path.parent.is_dir()}:
            remove_leftovers(place)
        return _Writer(videos, folder, dtype, shards, truth, progress).write()


class _Writer:
    def __init__(
        self,
        videos: Sequence[Video],
        folder: Path,
        dtype: Dtype,
        shards: Sequence[PlannedShard],
        truth: Mapping[str, Path],
        progress: Progress | None,
    ) -> None:
        self.videos, self.folder, self.dtype = videos, folder, dtype
        self.shards, self.truth, self.progress = shards, truth, progress
        self.done = 0
        self.total = sum(len(shard.entries) for shard in shards)

    def write(self) -> PackInfo:
        """Write what is missing, in an order that lets the next call go on after any kill."""
        kept = {shard.name: self._kept(shard) for shard in self.shards}
        self._check_space([shard for shard in self.shards if kept[shard.name] is None])
        if any(record is None for record in kept.values()):
            # From here to the end the folder is not a pack, so nobody reads parts of two packs.
            (self.folder / INFO).unlink(missing_ok=True)
        found: dict[str, tuple[ShardInfo, Mapping[str, float]]] = {}
        with hdf5_kept_open():
            for shard in self.shards:
                record = kept[shard.name]
                if record is None:
                    self._write_shard(shard)
                    record = record_of(self.folder / shard.name)
                    assert record is not None
                self.done += len(shard.entries)
                path = self.folder / shard.name
                found[shard.name] = (
                    ShardInfo(
                        shard.rows, shard.width, record.size, record.sha256, tail_digest(path)
                    ),
                    record.made["error"],
                )
        self._write_truth()
        with recorded(self.folder / MANIFEST, {"kind": KIND}) as temporary:
            write_manifest(temporary, self._packed_videos())
        features = [shard for shard in self.shards if shard.name.startswith(FEATURES)]
        info = PackInfo(
            dtype=self.dtype,
            shards={name: shard for name, (shard, _) in found.items()},
            videos=len(self.videos),
            rows=sum(shard.rows for shard in features),
            error=_together([found[shard.name][1] for shard in self.shards]),
            origin=common_origin(self.videos),
        )
        record_text(self.folder / INFO, info_text(info), {"kind": KIND})
        self._remove_others()
        return info

    def _kept(self, shard: PlannedShard) -> Record | None:
        path = self.folder / shard.name
        record = record_of(path) if path.is_file() else None
        if record is None or record.made.get("content") != shard.content(self.dtype):
            return None
        return record if wrote(path) and path.stat().st_size == record.size else None

    def _check_space(self, shards: Sequence[PlannedShard]) -> None:
        size = np.dtype(DESCR[self.dtype]).itemsize
        needed = sum(shard.rows * shard.width * size for shard in shards)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise OSError(
                errno.ENOSPC,
                f"the pack needs {needed / 1e9:.2f} GB more, and {free / 1e9:.2f} GB are free",
                str(self.folder),
            )

    def _write_shard(self, shard: PlannedShard) -> None:
        made: dict[str, Any] = {"kind": KIND, "content": shard.content(self.dtype)}
        with recorded(self.folder / shard.name, made) as temporary:
            errors = []
            with temporary.open("wb") as file:
                file.write(npy_header(DESCR[self.dtype], (shard.rows, shard.width)))
                for number, (entry, state) in enumerate(
                    zip(shard.entries, shard.states, strict=True)
                ):
                    if self.progress is not None:
                        self.progress(entry.video.name, self.done + number, self.total)
                    errors.append(self._write_rows(file, entry, state))
            made["error"] = _summed(np.concatenate(errors))

    def _write_rows(self, file: BinaryIO, entry: Entry, state: tuple[int, int]) -> NDArray[Any]:
        rows = entry.load()
        if state_of(entry.source) != state or len(rows) != entry.rows:
            raise DataError(
                f"{entry.source} has changed while it was packed; wait until nothing writes to it, "
                "and run the same command again: finished shards are kept"
            )
        stored = torch.from_numpy(rows).to(getattr(torch, self.dtype))
        if self.dtype == "bfloat16":
            file.write(stored.view(torch.int16).numpy().tobytes())
        else:
            file.write(stored.numpy().tobytes())
        if self.dtype == "float32":
            return np.zeros(len(rows))
        back = stored.float().numpy()
        if not np.isfinite(back).all():
            raise DataError(
                f"{entry.source} has values up to {np.abs(rows).max():.3g}, too large for "
                f"{self.dtype}; pack with --dtype bfloat16 or float32"
            )
        size = np.linalg.norm(rows.astype(np.float64), axis=1)
        error = np.linalg.norm(back.astype(np.float64) - rows, axis=1)
        return np.divide(error, size, out=np.zeros_like(error), where=size > 0)

    def _write_truth(self) -> None:
        for video in self.videos:
            if video.frame_labels is None:
                continue
            made = {"kind": KIND, "from": [os.path.abspath(video.frame_labels)]}
            labels = read_frame_labels(video.frame_labels)
            path = self.truth[video.name]
            with recorded(path, made) as temporary, temporary.open("wb") as file:
                np.save(file, labels)

    def _packed_videos(self) -> list[Video]:
        features: dict[str, list[FeatureSource]] = {}
        queries: dict[str, FeatureSource] = {}
        for shard in self.shards:
            for entry in shard.entries:
                source = FeatureSource(self.folder / shard.name, entry.key)
                if entry.crop is None:
                    queries[entry.video.name] = source
                else:
                    features.setdefault(entry.video.name, []).append(source)
        return [
            dataclasses.replace(
                video,
                features=tuple(features[video.name]),
                query=queries.get(video.name),
                frame_labels=self.truth.get(video.name),
                axes=None,
            )
            for video in self.videos
        ]

    def _remove_others(self) -> None:
        """Remove the shards of an earlier pack that this one doesn't have."""
        named = {shard.name for shard in self.shards}
        for what in (FEATURES, QUERIES):
            for path in self.folder.glob(f"{what}-[0-9]*.npy"):
                record = None if path.name in named else record_of(path)
                if record is not None and record.made.get("kind") == KIND and wrote(path):
                    path.unlink()
                    record_path(path).unlink()


def _summed(errors: NDArray[Any]) -> dict[str, float]:
    return {
        "largest": float(errors.max()),
        "mean": float(errors.mean()),
        "rows": float(len(errors)),
    }


def _together(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    rows = sum(part["rows"] for part in parts)
    return {
        "largest": max(part["largest"] for part in parts),
        "mean": sum(part["mean"] * part["rows"] for part in parts) / rows,
    }
