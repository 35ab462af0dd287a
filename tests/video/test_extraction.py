from __future__ import annotations

import csv
import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ladnet_fast.video import I3D, ExtractionError, extract_features, extract_to_files, extraction
from ladnet_fast.video.feature_file import FeatureFile, stored_rows

WriteVideo = Callable[..., Path]


@pytest.fixture
def videos(
    write_video: WriteVideo, grey_frames: Callable[..., np.ndarray], tmp_path: Path
) -> list[Path]:
    return [
        write_video(tmp_path / f"{name}.mkv", grey_frames(count))
        for name, count in (("a", 40), ("b", 64))
    ]


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
    assert {path.name for path in out.iterdir()} == {"videos.csv", *names["a"], *names["b"]}
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
    assert sorted(path.name for path in out.iterdir()) == ["a.npy", "b.npy", "videos.csv"]
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
    assert sorted(path.name for path in out.iterdir()) == ["a.npy", "videos.csv"]
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
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "arguments", "error", "message"),
    [
        ([], {}, ValueError, "videos is empty"),
        ("a.mp4", {}, TypeError, "single path"),
        (["a.mp4"], {"crops": 2}, ValueError, "crops must be"),
        (["x/a.mp4", "y/a.avi"], {}, ValueError, "x/a.mp4 and y/a.avi would both"),
        (["a;b.mp4"], {}, ValueError, "rename it"),
        (["a.mp4"], {"device": "cpu"}, ValueError, "model comes as it is"),
        (["a.mp4"], {"dtype": torch.float32}, ValueError, "model comes as it is"),
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
        ("video,features,label\na,a.npy\n", "row 2: the header has 3 cells"),
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
    extract_to_files(videos, tmp_path / "out")
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
