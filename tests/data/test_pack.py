"""A pack holds what the files held; what is cut off, full, damaged or changed is named."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast._outputs import OutputError
from ladnet_fast._records import DamagedFileError
from ladnet_fast.data import (
    DataError,
    FeatureSource,
    Video,
    count_crops,
    is_pack,
    iter_crops,
    load_features,
    num_snippets,
    read_frame_labels,
    read_info,
    read_manifest,
    verify_pack,
    write_manifest,
    write_pack,
)
from ladnet_fast.data.pack import shards as shards_module
from ladnet_fast.data.pack import write as write_module

MakeVideo = Callable[..., Video]


@pytest.fixture
def videos(make_video: MakeVideo, save: Callable[..., Path], tmp_path: Path) -> list[Video]:
    """Videos of every form: files of one crop, one file of several, HDF5, queries, truth."""
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(1)
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["c"] = rng.normal(size=(6, 4)).astype(np.float64)
    queries = [FeatureSource(save(f"q{i}.npy", (n, 3))) for i, n in enumerate((7, 12, 6, 1))]
    truth = save("gt.npy", array=np.array([0, 1, 1, 0]))
    (tmp_path / "gt.txt").write_text("0 1 1\n")
    return [
        make_video("a", ((7, 4), (7, 4)), query=queries[0], split="train", fold=0),
        make_video(
            "folder/b", ((12, 5, 4),), label=1, classes=("B1", "B2"), query=queries[1],
            frame_labels=truth, num_frames=4, split="test", axes="snippets,crops",
        ),
        Video("c", (FeatureSource(tmp_path / "all.h5", "c"),), None, query=queries[2]),
        make_video(
            "d", ((1, 4),), query=queries[3], frames_per_snippet=None,
            frame_labels=tmp_path / "gt.txt",
        ),
    ]  # fmt: skip


def assert_same(videos: list[Video], packed: list[Video]) -> None:
    assert [video.name for video in packed] == [video.name for video in videos]
    for before, after in zip(videos, packed, strict=True):
        for field in ("label", "classes", "num_frames", "frames_per_snippet", "fold", "split"):
            assert getattr(after, field) == getattr(before, field), field
        assert count_crops(after) == count_crops(before)
        assert num_snippets(after) == num_snippets(before)
        for one, other in zip(iter_crops(before), iter_crops(after), strict=True):
            np.testing.assert_array_equal(one.features, other.features)
            np.testing.assert_array_equal(one.query, other.query)
        assert (before.frame_labels is None) == (after.frame_labels is None)
        if before.frame_labels is not None and after.frame_labels is not None:
            np.testing.assert_array_equal(
                read_frame_labels(before.frame_labels), read_frame_labels(after.frame_labels)
            )


def assert_same_features(videos: list[Video], packed: list[Video]) -> None:
    for before, after in zip(videos, packed, strict=True):
        for one, other in zip(iter_crops(before), iter_crops(after), strict=True):
            np.testing.assert_array_equal(one.features, other.features)


@pytest.mark.parametrize("shard_bytes", [1, 300, 1 << 20], ids=["a crop each", "some", "one"])
def test_everything_of_a_data_set_carries_over_bit_for_bit(
    videos: list[Video], tmp_path: Path, shard_bytes: int
) -> None:
    info = write_pack(videos, tmp_path / "pack", shard_bytes=shard_bytes)
    assert_same(videos, read_manifest(tmp_path / "pack"))
    assert info == read_info(tmp_path / "pack") == verify_pack(tmp_path / "pack")
    assert info.rows == 2 * 7 + 5 * 12 + 6 + 1
    assert info.error == {"largest": 0.0, "mean": 0.0}
    if shard_bytes == 1 << 20:
        assert set(info.shards) == {"features-0000.npy", "queries-0000.npy"}


def test_a_pack_that_was_moved_is_whole(videos: list[Video], tmp_path: Path) -> None:
    write_pack(videos, tmp_path / "pack")
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "pack").rename(tmp_path / "elsewhere" / "pack")
    assert_same(videos, read_manifest(moved))
    verify_pack(moved)


def test_numpy_reads_the_shards_and_another_manifest_names_their_rows(
    videos: list[Video], tmp_path: Path
) -> None:
    write_pack(videos, tmp_path / "pack")
    packed = read_manifest(tmp_path / "pack")
    rows = np.load(tmp_path / "pack" / "features-0000.npy")
    start, stop = map(int, str(packed[0].features[1].key).split(":"))
    np.testing.assert_array_equal(rows[start:stop], load_features(videos[0].features[1]))
    write_manifest(tmp_path / "other.csv", packed[1:])
    assert_same(videos[1:], read_manifest(tmp_path / "other.csv"))


def test_a_pack_can_be_packed(videos: list[Video], tmp_path: Path) -> None:
    write_pack(videos, tmp_path / "one", shard_bytes=1)
    write_pack(read_manifest(tmp_path / "one"), tmp_path / "two")
    assert_same(videos, read_manifest(tmp_path / "two"))


@pytest.mark.parametrize(("dtype", "most"), [("float16", 2**-11), ("bfloat16", 2**-8)])
def test_smaller_types_say_how_much_they_round(
    videos: list[Video], tmp_path: Path, dtype: str, most: float
) -> None:
    whole = write_pack(videos, tmp_path / "whole")
    info = write_pack(videos, tmp_path / "pack", dtype=dtype)  # type: ignore[arg-type]
    assert 0 < info.error["mean"] <= info.error["largest"] <= most
    errors = []
    for before, after in zip(videos, read_manifest(tmp_path / "pack"), strict=True):
        for one, other in zip(iter_crops(before), iter_crops(after), strict=True):
            assert other.features.dtype == np.float32
            difference = np.linalg.norm(one.features.astype(float) - other.features, axis=1)
            errors.append(difference / np.linalg.norm(one.features.astype(float), axis=1))
    assert max(map(max, errors)) <= info.error["largest"] + 1e-12
    sizes = [sum(s.bytes - 4096 for s in i.shards.values()) for i in (whole, info)]
    assert sizes[0] == 2 * sizes[1]


def test_bfloat16_is_no_number_for_programs_that_do_not_know_it(
    videos: list[Video], tmp_path: Path
) -> None:
    write_pack(videos, tmp_path / "pack", dtype="bfloat16")
    with pytest.raises(DataError, match="real numbers"):
        load_features(tmp_path / "pack" / "features-0000.npy")


def test_a_value_too_large_for_float16_is_named(
    make_video: MakeVideo, save: Callable[..., Path], tmp_path: Path
) -> None:
    source = FeatureSource(save("big.npy", array=np.full((2, 3), 1e5, np.float32)))
    with pytest.raises(DataError, match=r"big\.npy has values up to 1e\+05.*bfloat16"):
        write_pack([Video("v", (source,), 0)], tmp_path / "pack", dtype="float16")
    assert not is_pack(tmp_path / "pack")
    write_pack([Video("v", (source,), 0)], tmp_path / "pack", dtype="bfloat16")


class _PowerCutError(Exception):
    pass


@pytest.mark.parametrize("crop", [0, 1, 4, 8, 9, 11])
def test_a_pack_that_was_cut_off_is_no_pack_and_goes_on(
    videos: list[Video], tmp_path: Path, crop: int
) -> None:
    def cut(_name: str, done: int, _total: int | None) -> None:
        if done == crop:
            raise _PowerCutError

    folder = tmp_path / "pack"
    with pytest.raises(_PowerCutError):
        write_pack(videos, folder, shard_bytes=250, progress=cut)
    assert not is_pack(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.npy")}
    read: list[int] = []
    write_pack(videos, folder, shard_bytes=250, progress=lambda _n, done, _t: read.append(done))
    assert_same(videos, read_manifest(folder))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert min(read) <= crop, "what was finished is not read again"
    assert not list(folder.glob(".ladnet-*"))


def test_a_process_that_is_killed_while_it_packs_leaves_one_that_can_go_on(
    make_video: MakeVideo, tmp_path: Path
) -> None:
    videos = [make_video(f"v{i}", ((5, 4),)) for i in range(6)]
    write_manifest(tmp_path / "videos.csv", videos)
    program = (
        "import os, sys; from ladnet_fast.data import read_manifest, write_pack\n"
        "write_pack(read_manifest(sys.argv[1]), sys.argv[2], shard_bytes=160,\n"
        "           progress=lambda name, done, total: done == 3 and os.kill(os.getpid(), 9))"
    )
    folder = tmp_path / "pack"
    arguments = [sys.executable, "-c", program, str(tmp_path / "videos.csv"), str(folder)]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    assert not is_pack(folder)
    assert list(folder.glob(".ladnet-*.part")), "what was half written"
    write_pack(videos, folder, shard_bytes=160)
    assert_same_features(videos, read_manifest(folder))
    assert not list(folder.glob(".ladnet-*.part"))


def test_nothing_is_read_again_where_nothing_has_changed(
    videos: list[Video], tmp_path: Path
) -> None:
    write_pack(videos, tmp_path / "pack")
    read: list[str] = []
    again = write_pack(videos, tmp_path / "pack", progress=lambda name, _d, _t: read.append(name))
    assert read == []
    assert again == read_info(tmp_path / "pack")


def test_a_pack_follows_its_inputs(
    videos: list[Video], make_video: MakeVideo, tmp_path: Path
) -> None:
    folder = tmp_path / "pack"
    write_pack(videos, folder, shard_bytes=1)
    names = {path.name for path in folder.glob("*.npy")}
    changed = make_video("d", ((3, 4),), query=videos[0].query)
    fewer = [*videos[:1], changed]
    np.save(changed.query.path, np.zeros((4, 3)))  # type: ignore[union-attr]
    write_pack(fewer, folder, shard_bytes=1)
    packed = read_manifest(folder)
    np.testing.assert_array_equal(
        load_features(packed[1].features[0]), load_features(changed.features[0])
    )
    assert {path.name for path in folder.glob("*.npy")} < names
    verify_pack(folder)


def test_a_file_that_changes_while_it_is_packed_is_named(
    videos: list[Video], tmp_path: Path
) -> None:
    victim = videos[0].features[1].path

    def change(_name: str, done: int, _total: int | None) -> None:
        if done == 1:
            np.save(victim, np.zeros((7, 4), np.float64))

    with pytest.raises(DataError, match=r"a__1\.npy has changed while it was packed"):
        write_pack(videos, tmp_path / "pack", progress=change)
    assert not is_pack(tmp_path / "pack")


def test_too_small_a_disk_is_named_before_anything_is_written(
    videos: list[Video], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 100

    monkeypatch.setattr(write_module.shutil, "disk_usage", lambda _path: Usage)
    with pytest.raises(OSError, match=r"the pack needs .* GB more") as caught:
        write_pack(videos, tmp_path / "pack")
    assert caught.value.errno == errno.ENOSPC
    assert not list((tmp_path / "pack").glob("*.npy"))


def test_features_of_two_extractors_or_with_nan_are_named(
    make_video: MakeVideo, save: Callable[..., Path], tmp_path: Path
) -> None:
    pair = [make_video("a", ((5, 4),)), make_video("b", ((5, 6),))]
    with pytest.raises(DataError, match="b: its features are 6 wide, but those of 'a' are 4"):
        write_pack(pair, tmp_path / "pack")
    uneven = make_video("u", ((5, 4), (6, 4)))
    with pytest.raises(DataError, match=r"crop 1 .* has shape"):
        write_pack([uneven], tmp_path / "pack")
    broken = np.ones((3, 4), np.float32)
    broken[1, 2] = np.nan
    source = FeatureSource(save("nan.npy", array=broken))
    with pytest.raises(DataError, match=r"nan\.npy: row 1, column 2"):
        write_pack([Video("v", (source,), 0)], tmp_path / "pack")
    some = [make_video("x", query=source), make_video("y")]
    with pytest.raises(DataError, match="'y' has none"):
        write_pack(some, tmp_path / "pack")


def test_somebody_elses_files_and_inputs_are_not_replaced(
    videos: list[Video], tmp_path: Path
) -> None:
    (tmp_path / "pack").mkdir()
    np.save(tmp_path / "pack" / "features-0000.npy", np.ones(3))
    with pytest.raises(OutputError, match="ladnet-fast did not write it"):
        write_pack(videos, tmp_path / "pack")
    write_pack(videos, tmp_path / "pack", overwrite=True)
    with pytest.raises(OutputError, match="is an input"):
        write_pack(read_manifest(tmp_path / "pack"), tmp_path / "pack")


def _shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def _zero_the_end(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-40] + bytes(40))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_shorten, "bytes, expected"),
        (_zero_the_end, "its end has changed"),
        (Path.unlink, "does not exist"),
    ],
    ids=["short", "zeros at its end", "gone"],
)
def test_a_damaged_shard_is_named_when_it_is_opened(
    videos: list[Video], tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    write_pack(videos, tmp_path / "pack")
    packed = read_manifest(tmp_path / "pack")
    damage(tmp_path / "pack" / "features-0000.npy")
    with pytest.raises((DataError, FileNotFoundError), match=rf"features-0000\.npy.*{message}"):
        load_features(packed[0].features[0])


def test_one_turned_bit_is_found_by_verifying(make_video: MakeVideo, tmp_path: Path) -> None:
    write_pack([make_video("long", ((9000, 4),))], tmp_path / "pack")
    path = tmp_path / "pack" / "features-0000.npy"
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    load_features(read_manifest(tmp_path / "pack")[0].features[0])
    with pytest.raises(DamagedFileError, match=r"1 of 1 shards .*features-0000\.npy"):
        verify_pack(tmp_path / "pack")


def test_rows_that_are_not_there_are_refused(videos: list[Video], tmp_path: Path) -> None:
    write_pack(videos, tmp_path / "pack")
    shard = tmp_path / "pack" / "features-0000.npy"
    for key in ("80:82", "5:5", "9:2"):
        with pytest.raises(DataError, match="START:STOP must be"):
            load_features(FeatureSource(shard, key))
    (tmp_path / "pack" / "pack.json").unlink()
    shards_module._open.clear()
    with pytest.raises(FileNotFoundError, match=r"pack\.json does not exist.*not finished"):
        load_features(FeatureSource(shard, "0:2"))
    other = videos[0].features[0].path
    with pytest.raises(FileNotFoundError, match="is no pack"):
        load_features(FeatureSource(other, "0:2"))


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": "ladnet_fast.pack.9"}'])
def test_a_damaged_description_is_named(videos: list[Video], tmp_path: Path, text: str) -> None:
    write_pack(videos, tmp_path / "pack")
    (tmp_path / "pack" / "pack.json").write_text(text)
    with pytest.raises(DataError, match=r"pack\.json is (damaged|of the format)"):
        read_info(tmp_path / "pack")


def test_the_description_is_plain_json(videos: list[Video], tmp_path: Path) -> None:
    write_pack(videos, tmp_path / "pack")
    content = json.loads((tmp_path / "pack" / "pack.json").read_text())
    assert content["format"] == "ladnet_fast.pack.1"
    assert content["shards"]["features-0000.npy"]["rows"] == content["rows"]


def test_a_folder_without_a_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"doesn't hold a videos\.csv.*ladnet-fast pack"):
        read_manifest(tmp_path)
