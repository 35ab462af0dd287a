from __future__ import annotations

import csv
import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ladnet_fast.video import (
    I3D,
    ExtractionError,
    extract_features,
    extract_to_files,
    extraction,
    find_footage,
)
from ladnet_fast.video.feature_file import FeatureFile, stored_rows
from ladnet_fast.video.listing import Listing

WriteVideo = Callable[..., Path]


@pytest.fixture
def videos(
    write_video: WriteVideo, grey_frames: Callable[..., np.ndarray], tmp_path: Path
) -> list[Path]:
    return [
        write_video(tmp_path / f"{name}.mkv", grey_frames(count))
        for name, count in (("a", 40), ("b", 64))
    ]


def visible(folder: Path) -> list[str]:
    """What a user sees in a folder: the records of our own files are hidden."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "videos.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("crops", [1, 5, 10])
def test_files_hold_the_features_and_the_manifest_names_them(
    videos: list[Path], pixel_model: I3D, tmp_path: Path, crops: int
) -> None:
    out = tmp_path / "out"
    results = extract_to_files(videos, out, crops=crops, model=pixel_model)
    names = {
        video.stem: [f"{video.stem}__{i}.npy" for i in range(crops)]
        if crops > 1
        else [f"{video.stem}.npy"]
        for video in videos
    }
    assert set(visible(out)) == {"videos.csv", *names["a"], *names["b"]}
    for video, result in zip(videos, results, strict=True):
        stored = np.stack([np.load(path, allow_pickle=False) for path in result.features])
        expected = extract_features(video, model=pixel_model, crops=crops)
        np.testing.assert_array_equal(stored, expected)
        assert [path.name for path in result.features] == names[video.stem]
        assert (result.num_snippets, result.reused) == (expected.shape[1], False)
    assert rows_of(out) == [
        {
            "video": name,
            "features": ";".join(names[name]),
            "label": "",
            "num_frames": frames,
            "frames_per_snippet": "16",
        }
        for name, frames in (("a", "40"), ("b", "64"))
    ]


def test_finished_videos_are_not_computed_again(
    videos: list[Path], pixel_model: I3D, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    extract_to_files(videos[:1], out, model=pixel_model)
    pixel_model.batches.clear()
    results = extract_to_files(videos, out, model=pixel_model)
    assert [result.reused for result in results] == [True, False]
    assert sum(pixel_model.batches) == 4
    assert [row["num_frames"] for row in rows_of(out)] == ["40", "64"]

    pixel_model.batches.clear()
    extract_to_files(videos, out, model=pixel_model, overwrite=True)
    assert sum(pixel_model.batches) == 6


def test_a_video_whose_files_are_incomplete_is_done_again(
    videos: list[Path], pixel_model: I3D, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    extract_to_files(videos, out, crops=5, model=pixel_model)
    (out / "a__3.npy").unlink()
    content = (out / "b__1.npy").read_bytes()
    (out / "b__1.npy").write_bytes(content[:-8])
    results = extract_to_files(videos, out, crops=5, model=pixel_model)
    assert [result.reused for result in results] == [False, False]
    assert (out / "b__1.npy").read_bytes() == content


def test_what_was_filled_into_the_manifest_stays(
    videos: list[Path], pixel_model: I3D, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    header = "video,features,label,split\n"
    (out / "videos.csv").write_text(f"{header}other,x.npy,1,test\na,a.npy,1,train\n")
    extract_to_files(videos, out, model=pixel_model)
    other, a, b = rows_of(out)
    assert other == {
        "video": "other",
        "features": "x.npy",
        "label": "1",
        "split": "test",
        "num_frames": "",
        "frames_per_snippet": "",
    }
    assert (a["label"], a["split"], a["num_frames"]) == ("1", "train", "40")
    assert (b["label"], b["split"], b["num_frames"]) == ("", "", "64")


def test_the_manifest_is_one_that_training_reads(
    videos: list[Path], pixel_model: I3D, tmp_path: Path
) -> None:
    from ladnet_fast.data.manifest import read_manifest

    out = tmp_path / "out"
    extract_to_files(videos, out, crops=5, model=pixel_model)
    listing = out / "videos.csv"
    listing.write_text(listing.read_text().replace("npy,,", "npy,1,"))  # fill in the labels
    first, second = read_manifest(listing)
    assert (first.name, first.num_frames, first.frames_per_snippet) == ("a", 40, 16)
    assert [source.path.name for source in second.features] == [f"b__{i}.npy" for i in range(5)]


def test_one_bad_video_does_not_stop_the_others(
    videos: list[Path], pixel_model: I3D, tmp_path: Path, write_video: WriteVideo
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("not a video")
    short = write_video(tmp_path / "short.mkv", np.zeros((3, 32, 32, 3), np.uint8))
    out = tmp_path / "out"
    with pytest.raises(
        ExtractionError, match=r"2 of 4 videos(.|\n)*bad\.mp4(.|\n)*3 frames"
    ) as info:
        extract_to_files([bad, videos[0], short, videos[1]], out, model=pixel_model)
    assert list(info.value.failures) == [bad, short]
    assert visible(out) == ["a.npy", "b.npy", "videos.csv"]
    assert [row["video"] for row in rows_of(out)] == ["a", "b"]


def test_an_interruption_leaves_only_complete_files(
    videos: list[Path], pixel_model: I3D, tmp_path: Path
) -> None:
    def interrupt(name: str, done: int, total: int | None) -> None:
        if name == "b.mkv" and done >= 32:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        extract_to_files(videos, out, batch=1, model=pixel_model, progress=interrupt)
    assert visible(out) == ["a.npy", "videos.csv"]
    results = extract_to_files(videos, out, model=pixel_model)
    assert [result.reused for result in results] == [True, False]


def test_a_full_disk_names_the_folder_and_leaves_nothing_half_written(
    videos: list[Path], pixel_model: I3D, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FeatureFile, "append", full)
    out = tmp_path / "out"
    with pytest.raises(OSError, match=r"features of .*a\.mkv failed \(No space left.*out") as info:
        extract_to_files(videos, out, model=pixel_model)
    assert info.value.errno == errno.ENOSPC
    assert visible(out) == []


@pytest.mark.parametrize(
    ("names", "arguments", "error", "message"),
    [
        ([], {}, ValueError, "videos is empty"),
        ("a.mp4", {}, TypeError, "single path"),
        (["a.mp4"], {"crops": 2}, ValueError, "crops must be"),
        (["x/a.mp4", "y/a.avi"], {}, ValueError, "x/a.mp4 and y/a.avi would both"),
        (["a;b.mp4"], {}, ValueError, "rename the file"),
        (["a.mp4"], {"device": "cpu"}, ValueError, "dtype and device must be left out"),
        (["a.mp4"], {"dtype": torch.float32}, ValueError, "dtype and device must be left out"),
    ],
)
def test_bad_arguments_are_refused(
    pixel_model: I3D,
    tmp_path: Path,
    names: object,
    arguments: dict,
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        extract_to_files(names, tmp_path / "out", model=pixel_model, **arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,score\na,1\n", "not a manifest: it has no column video, features, label"),
        ("video,features,label\na,a.npy\n", "row 2: a row must have 3 cells"),
        ("video,features,label\na,a.npy,1\na,a.npy,1\n", "'a' is there twice"),
    ],
)
def test_another_videos_csv_is_not_overwritten(
    videos: list[Path], pixel_model: I3D, tmp_path: Path, content: str, message: str
) -> None:
    listing = tmp_path / "videos.csv"
    listing.write_text(content)
    with pytest.raises(ValueError, match=message):
        extract_to_files(videos, tmp_path, model=pixel_model)
    assert listing.read_text() == content


def test_weights_are_fetched_only_when_a_video_needs_them(
    videos: list[Path], pixel_model: I3D, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[tuple[object, object]] = []

    def pretrained(dtype: object, device: object) -> I3D:
        loaded.append((dtype, device))
        return pixel_model

    monkeypatch.setattr(extraction, "_pretrained", pretrained)
    extract_to_files(videos, tmp_path / "out", dtype=torch.bfloat16, device="cpu")
    extract_to_files(videos, tmp_path / "out", dtype=torch.bfloat16)
    assert loaded == [(torch.bfloat16, "cpu")]


def test_a_feature_file_grows_row_by_row(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random((25_000, 8), dtype=np.float32)
    path = tmp_path / "a.npy"
    with FeatureFile(path, 8) as file:
        for part in np.array_split(rows, 7):
            file.append(part[:, ::1])
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), rows)
    assert stored_rows(path, 8) == 25_000
    assert stored_rows(path, 9) is None
    assert stored_rows(tmp_path / "absent.npy", 8) is None


@pytest.mark.parametrize(
    "rows", [np.zeros((2, 7), np.float32), np.zeros((2, 8)), np.zeros(8, "f4")]
)
def test_a_feature_file_refuses_other_rows(tmp_path: Path, rows: np.ndarray) -> None:
    with (
        pytest.raises(ValueError, match="rows must be float32"),
        FeatureFile(tmp_path / "a", 8) as f,
    ):
        f.append(rows)


def test_somebody_elses_features_are_never_replaced_unasked(
    videos: list[Path], pixel_model: I3D, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    theirs = np.ones((2, 1024), np.float32)  # whole, and of the right width
    np.save(out / "b.npy", theirs)
    with pytest.raises(ValueError, match=r"b\.npy would be replaced, but ladnet-fast did not"):
        extract_to_files(videos, out, model=pixel_model)
    assert visible(out) == ["b.npy"]
    assert np.array_equal(np.load(out / "b.npy"), theirs)
    extract_to_files(videos, out, model=pixel_model, overwrite=True)
    assert len(np.load(out / "b.npy")) == 4


def test_features_that_somebody_edited_are_theirs(
    videos: list[Path], pixel_model: I3D, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    extract_to_files(videos, out, model=pixel_model)
    edited = np.load(out / "a.npy") * 2
    np.save(out / "a.npy", edited)
    with pytest.raises(ValueError, match=r"a\.npy would be replaced.*changed it since"):
        extract_to_files(videos, out, model=pixel_model)
    assert np.array_equal(np.load(out / "a.npy"), edited)


@pytest.mark.parametrize("crops", [1, 5])
def test_a_video_recorded_again_under_its_name_is_extracted_again(
    videos: list[Path],
    pixel_model: I3D,
    tmp_path: Path,
    write_video: WriteVideo,
    grey_frames: Callable[..., np.ndarray],
    crops: int,
) -> None:
    out = tmp_path / "out"
    extract_to_files(videos, out, crops=crops, model=pixel_model)
    status = videos[0].stat()
    write_video(videos[0], grey_frames(40)[::-1])  # another content of the same length
    os.utime(videos[0], ns=(status.st_atime_ns, status.st_mtime_ns))
    first, second = extract_to_files(videos, out, crops=crops, model=pixel_model)
    assert (first.reused, first.changed, second.reused) == (False, True, True)
    stored = np.stack([np.load(path) for path in first.features])
    expected = extract_features(videos[0], model=pixel_model, crops=crops)
    np.testing.assert_array_equal(stored, expected)


def test_another_video_of_the_same_name_is_refused_with_both_paths(
    videos: list[Path], pixel_model: I3D, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    extract_to_files(videos, out, model=pixel_model)
    kept = np.load(out / "a.npy")
    other = tmp_path / "tuesday" / "a.mkv"
    other.parent.mkdir()
    other.write_bytes(videos[1].read_bytes())
    with pytest.raises(ValueError, match=r"features of another video, .*/a\.mkv, not of .*tuesday"):
        extract_to_files([other], out, model=pixel_model)
    assert np.array_equal(np.load(out / "a.npy"), kept)
    (again,) = extract_to_files([other], out, model=pixel_model, overwrite=True)
    assert again.num_snippets == 4


def test_a_video_that_was_moved_or_touched_is_still_known(
    videos: list[Path], pixel_model: I3D, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    extract_to_files(videos, out, model=pixel_model)
    (tmp_path / "archive").mkdir()
    moved = videos[0].rename(tmp_path / "archive" / "a.mkv")
    videos[1].touch()
    results = extract_to_files([moved, videos[1]], out, model=pixel_model)
    assert [result.reused for result in results] == [True, True]
    assert [result.num_frames for result in results] == [40, 64]


def test_features_of_other_settings_are_not_mixed_in(
    videos: list[Path], pixel_model: I3D, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    extract_to_files(videos, out, model=pixel_model)
    with torch.no_grad():
        pixel_model.conv_1a.conv.weight.add_(1)
    with pytest.raises(ValueError, match=r"a\.npy was extracted with other settings \(weights"):
        extract_to_files(videos, out, model=pixel_model)
    (result,) = extract_to_files(videos[:1], out, model=pixel_model, overwrite=True)
    assert not result.reused


def test_a_video_that_grows_while_it_is_read_gives_no_features(
    videos: list[Path], pixel_model: I3D, tmp_path: Path
) -> None:
    def record(name: str, done: int, total: int | None) -> None:
        with videos[0].open("ab") as file:
            file.write(b"more")

    out = tmp_path / "out"
    with pytest.raises(ExtractionError, match="has changed while it was read"):
        extract_to_files(videos[:1], out, model=pixel_model, progress=record)
    assert visible(out) == []


def test_an_absent_video_does_not_stop_the_others(
    videos: list[Path], pixel_model: I3D, tmp_path: Path
) -> None:
    with pytest.raises(ExtractionError, match=r"no such video file: .*absent\.mp4"):
        extract_to_files([tmp_path / "absent.mp4", *videos], tmp_path / "out", model=pixel_model)
    assert visible(tmp_path / "out") == ["a.npy", "b.npy", "videos.csv"]


def test_folders_and_patterns_keep_their_structure(
    videos: list[Path], pixel_model: I3D, tmp_path: Path
) -> None:
    for place in ("mon", "tue/night", ".hidden"):
        folder = tmp_path / "cams" / place
        folder.mkdir(parents=True)
        (folder / "gate.mkv").write_bytes(videos[0].read_bytes())
        (folder / "notes.txt").write_text("no video")
        (folder / "._gate.mkv").write_text("no video either")
    found = find_footage([tmp_path / "cams", videos[1]])
    assert [name for _, name in found] == ["mon/gate", "tue/night/gate", "b"]
    pattern = find_footage([tmp_path / "cams" / "**" / "*.mkv"])
    assert [name for _, name in pattern] == ["mon/gate", "tue/night/gate"]
    assert [name for _, name in find_footage([tmp_path / "cams/m*/*"])] == ["mon/gate", "mon/notes"]
    out = tmp_path / "out"
    extract_to_files(found, out, model=pixel_model)
    assert [row["features"] for row in rows_of(out)] == [
        "mon/gate.npy", "tue/night/gate.npy", "b.npy",
    ]  # fmt: skip
    assert all((out / row["features"]).is_file() for row in rows_of(out))
    assert all(video.reused for video in extract_to_files(found, out, model=pixel_model))


@pytest.mark.parametrize(
    ("given", "message"),
    [("empty", "hold no video file"), ("*.mp4", "matches no file"), ("a[b]?/*", "matches no file")],
)
def test_a_folder_or_pattern_without_a_video_is_named(
    tmp_path: Path, given: str, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=message):
        find_footage([tmp_path / given])


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "cam[1].mp4").touch()
    assert find_footage([tmp_path / "cam[1].mp4"]) == [(tmp_path / "cam[1].mp4", "cam[1]")]


_EXTRACT = """
import sys, time
from pathlib import Path
from ladnet_fast.video.listing import Listing
folder, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
listing = Listing(folder)
for i in range(first, first + count):
    listing.put(f"v{i}", [folder / f"v{i}.npy"], i)
"""


def test_processes_that_list_into_one_manifest_lose_no_row(tmp_path: Path) -> None:
    (tmp_path / "videos.csv").write_text("video,features,label,fold\nmine,m.npy,1,3\n")
    started = [
        subprocess.Popen([sys.executable, "-c", _EXTRACT, str(tmp_path), str(first), "20"])
        for first in (0, 100, 200)
    ]
    assert [process.wait() for process in started] == [0, 0, 0]
    rows = rows_of(tmp_path)
    assert len(rows) == 61
    assert rows[0]["label"] == "1"
    assert {row["video"] for row in rows} == {
        "mine", *(f"v{i}" for first in (0, 100, 200) for i in range(first, first + 20)),
    }  # fmt: skip


def test_labels_that_are_filled_in_meanwhile_stay(tmp_path: Path) -> None:
    listing = Listing(tmp_path)
    listing.put("a", [tmp_path / "a.npy"], 16)
    text = (tmp_path / "videos.csv").read_text()
    (tmp_path / "videos.csv").write_text(text.replace("a.npy,,", "a.npy,1,"))
    listing.put("b", [tmp_path / "b.npy"], 32)
    assert [row["label"] for row in rows_of(tmp_path)] == ["1", ""]


def test_a_row_of_the_users_that_names_other_features_stays(
    videos: list[Path], pixel_model: I3D, tmp_path: Path
) -> None:
    np.save(tmp_path / "better.npy", np.zeros((2, 1024), np.float32))
    content = "video,features,label\na,better.npy,1\n"
    (tmp_path / "videos.csv").write_text(content)
    with pytest.raises(ValueError, match=r"the row of 'a' names other features, better\.npy"):
        extract_to_files(videos, tmp_path, model=pixel_model)
    assert (tmp_path / "videos.csv").read_text() == content
    assert not (tmp_path / "a.npy").exists()
