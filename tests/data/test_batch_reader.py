"""Batches from packs are those of single files, bit for bit, and their memory is used again."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ladnet_fast.data import BagDataset, DataError, Video, collate, read_manifest, write_pack
from ladnet_fast.data.batch_reader import (
    BatchReader,
    PackedBatch,
    from_pack,
    pack_bags,
    sample_lengths,
)

MakeVideo = Callable[..., Video]
LENGTHS = (7, 1, 30, 12, 5)
SAMPLING: tuple[dict[str, Any], ...] = (
    {"sampling": "none"},
    {"sampling": "linspace", "size": 6},
    {"sampling": "linspace", "size": 2},
    {"sampling": "bins", "size": 4},
)
IDS = ["whole", "at most 6", "at most 2", "4 bins"]


@pytest.fixture(params=[False, True], ids=["no queries", "queries"])
def videos(request: pytest.FixtureRequest, make_video: MakeVideo) -> list[Video]:
    """Bags of several lengths, one of several crops; queries that are a row longer or shorter."""
    videos = []
    for i, length in enumerate(LENGTHS):
        query = None
        if request.param:
            rows = max(1, length + i % 3 - 1)
            query = make_video(f"q{i}", ((rows, 3),)).features[0]
        shapes = ((length, 4),) * (1 + i % 2)
        videos.append(make_video(f"v{i}", shapes, label=i % 2, query=query))
    return videos


def equal(one: Any, other: Any) -> bool:
    assert type(one) is type(other)
    return all(
        a is b is None or (a.dtype == b.dtype and torch.equal(a, b))
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("options", SAMPLING, ids=IDS)
def test_batches_of_a_pack_are_those_of_its_bags(
    videos: list[Video], tmp_path: Path, options: dict[str, Any], packed: bool, dtype: Any
) -> None:
    write_pack(videos, tmp_path / "pack", dtype=dtype, shard_bytes=200)
    mapped = BagDataset(read_manifest(tmp_path / "pack"), **options)
    source = BagDataset(videos, **options) if dtype == "float32" else mapped
    reader = BatchReader(mapped, packed=packed)
    assert reader._features is not None, "the rows are read directly"
    for samples in ([0, 1, 2, 3, 4, 5, 6], [6], [2, 2, 0], [5, 3]):
        bags = [source[sample] for sample in samples]
        expected = pack_bags(bags) if packed else collate(bags)
        assert equal(reader.__getitems__(samples), expected)


@pytest.mark.parametrize("options", SAMPLING, ids=IDS)
def test_single_files_and_bags_in_memory_give_the_same_batches(
    videos: list[Video], tmp_path: Path, options: dict[str, Any]
) -> None:
    write_pack(videos, tmp_path / "pack")
    kept = BagDataset(read_manifest(tmp_path / "pack"), **options, preload=True)
    files = BagDataset(videos, **options)
    assert from_pack(kept)
    assert not from_pack(files)
    for packed in (False, True):
        readers = [BatchReader(dataset, packed=packed) for dataset in (kept, files)]
        assert equal(*(reader.__getitems__([4, 0, 3]) for reader in readers))


@pytest.mark.parametrize("options", SAMPLING, ids=IDS)
def test_lengths_are_known_before_anything_is_read(
    videos: list[Video], options: dict[str, Any]
) -> None:
    dataset = BagDataset(videos, **options)
    assert sample_lengths(dataset) == [len(dataset[i].features) for i in range(len(dataset))]


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders_and_other_processes_read_batches(
    videos: list[Video], tmp_path: Path, workers: int
) -> None:
    write_pack(videos, tmp_path / "pack")
    reader = BatchReader(BagDataset(read_manifest(tmp_path / "pack"), sampling="none"), packed=True)
    reader = pickle.loads(pickle.dumps(reader))
    batches = [[0, 1], [2], [3, 4, 5]]
    loader: DataLoader[Any] = DataLoader(
        reader, batch_sampler=batches, collate_fn=lambda batch: batch, num_workers=workers
    )
    got = list(loader)
    assert all(isinstance(batch, PackedBatch) for batch in got)
    for samples, batch in zip(batches, got, strict=True):
        assert equal(batch, reader.__getitems__(samples))


def test_a_batch_that_somebody_keeps_is_never_written_over(
    videos: list[Video], tmp_path: Path
) -> None:
    write_pack(videos, tmp_path / "pack")
    reader = BatchReader(BagDataset(read_manifest(tmp_path / "pack"), sampling="none"))
    kept = [reader.__getitems__([i % 7]) for i in range(20)]
    # Only a part of one is left, and a graph holds another.
    row = reader.__getitems__([3]).features[0, 3]
    weight = torch.ones(4, requires_grad=True)
    product = (reader.__getitems__([2]).features * weight).sum()
    for i in range(20):
        reader.__getitems__([i % 7])
    for i, batch in enumerate(kept):
        assert torch.equal(batch.features[0], reader.dataset[i % 7].features)
    assert torch.equal(row, reader.dataset[3].features[3])
    product.backward()
    torch.testing.assert_close(weight.grad, reader.dataset[2].features.sum(0))


def test_memory_of_batches_is_used_again(videos: list[Video], tmp_path: Path) -> None:
    write_pack(videos, tmp_path / "pack")
    reader = BatchReader(BagDataset(read_manifest(tmp_path / "pack"), sampling="none"))
    places = {reader.__getitems__([2]).features.data_ptr() for _ in range(50)}
    assert len(places) <= 2


def test_packs_of_two_widths_are_named(make_video: MakeVideo, tmp_path: Path) -> None:
    write_pack([make_video("a", ((5, 4),))], tmp_path / "one")
    write_pack([make_video("b", ((5, 6),))], tmp_path / "two")
    both = [*read_manifest(tmp_path / "one"), *read_manifest(tmp_path / "two")]
    with pytest.raises(DataError, match="6 wide, but those of the first video, 'a', are 4"):
        BatchReader(BagDataset(both))


def test_a_query_of_another_length_is_named(make_video: MakeVideo, tmp_path: Path) -> None:
    query = make_video("q", ((9, 3),)).features[0]
    write_pack([make_video("a", ((5, 4),), query=query)], tmp_path / "pack")
    with pytest.raises(DataError, match=r"a: .* has 5 snippets, but its query .* has 9"):
        BatchReader(BagDataset(read_manifest(tmp_path / "pack")))


def test_padding_is_zero_in_memory_that_was_used(videos: list[Video], tmp_path: Path) -> None:
    write_pack(videos, tmp_path / "pack")
    reader = BatchReader(BagDataset(read_manifest(tmp_path / "pack"), sampling="none"))
    reader.__getitems__([3, 3]).features.fill_(np.nan)
    batch = reader.__getitems__([1, 3])
    assert not batch.features[0, int(batch.lengths[0]) :].any()
