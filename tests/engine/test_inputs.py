"""Feature files and folders as videos to score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ladnet_fast.data import DataError
from ladnet_fast.engine.inputs import check_widths, find_inputs, videos_from_features
from ladnet_fast.video.sources import find_footage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (*(f"b__{crop}" for crop in range(11)), "a", "a__1", "a__vggish", "01_0015_0"):
        np.save(tmp_path / f"{name}.npy", np.zeros((2, 3), np.float32))
    return tmp_path


def test_crops_are_grouped_by_name_in_their_order(folder: Path) -> None:
    videos = find_inputs([folder], frames_per_snippet=8).videos
    crops = {v.name: [source.path.stem for source in v.features] for v in videos}
    assert crops == {
        "01_0015_0": ["01_0015_0"], "a": ["a", "a__1"],
        "b": [f"b__{crop}" for crop in range(11)],
    }  # fmt: skip
    assert {video.frames_per_snippet for video in videos} == {8}


def test_what_is_not_there_is_named(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty has no \.npy file"):
        find_inputs([folder / "empty"])
    with pytest.raises(FileNotFoundError, match=r"absent\.npy does not exist"):
        find_inputs([folder / "absent.npy"])
    with pytest.raises(DataError, match="both crop 0 of 'a'"):
        videos_from_features([folder / "a.npy", folder / "a.npy"])


def test_width_is_checked_before_anything_is_scored(folder: Path) -> None:
    videos = find_inputs([folder]).videos
    check_widths(videos, 3)
    with pytest.raises(DataError, match="features are 3 wide, but the model was trained on 4"):
        check_widths(videos, 4)


def test_what_is_named_twice_is_one_input(tmp_path: Path) -> None:
    for name in ("features/a.npy", "cams/a.mp4", "cams/sub/b.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    features, cams = tmp_path / "features", tmp_path / "cams"
    twice = (features, features / "a.npy", f"{features}/*.npy", f"{features}/./a.npy")
    assert [video.name for video in find_inputs(twice).videos] == ["a"]
    clips = (cams, cams / "a.mp4", f"{cams}/**/*.mp4")
    assert [name for _, name in find_inputs(clips).footage] == ["a", "sub/b"]
    assert [name for _, name in find_footage(clips)] == ["a", "sub/b"]
