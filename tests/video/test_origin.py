"""Telling whether features are of the video at hand."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast import _records
from ladnet_fast.video import I3D, ExtractionError, extract_to_files, origin

WriteVideo = Callable[..., Path]


@pytest.fixture
def videos(
    write_video: WriteVideo, grey_frames: Callable[..., np.ndarray], tmp_path: Path
) -> list[Path]:
    frames = {"a": grey_frames(20), "b": grey_frames(40)}
    return [write_video(tmp_path / f"{name}.mkv", frames[name]) for name in frames]


def test_a_copied_video_is_read_once_for_all_its_crops(
    videos: list[Path], pixel_model: I3D, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, read = tmp_path / "out", []
    extract_to_files(videos, out, model=pixel_model, crops=10)
    copies = [Path(shutil.copy(path, tmp_path / "out")) for path in videos]
    whole = _records.sha256_of

    def counted(path: Path) -> str:
        read.append(Path(path).name)
        return whole(path)

    monkeypatch.setattr(_records, "sha256_of", counted)
    results = extract_to_files(copies, out, model=pixel_model, crops=10)
    assert all(result.reused for result in results)
    assert [name for name in read if name.endswith(".mkv")] == ["a.mkv", "b.mkv"]


def test_a_video_that_cannot_be_read_any_more_costs_itself_alone(
    videos: list[Path], pixel_model: I3D, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    extract_to_files(videos, out, model=pixel_model)
    before = (out / "a.npy").read_bytes()
    ends_of = origin.ends_of

    def broken(path: Path) -> str:
        if path == videos[0]:
            raise PermissionError(13, "Permission denied", str(path))
        return ends_of(path)

    monkeypatch.setattr(origin, "ends_of", broken)
    (out / "b.npy").unlink()
    with pytest.raises(ExtractionError, match=r"a\.mkv: can't be read \(Permission denied\)"):
        extract_to_files(videos, out, model=pixel_model)
    assert (out / "a.npy").read_bytes() == before
    assert (out / "b.npy").is_file()


def test_a_set_keeps_its_number_of_crops(
    videos: list[Path], pixel_model: I3D, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    extract_to_files(videos, out, model=pixel_model)
    listed = (out / "videos.csv").read_text()
    with pytest.raises(ValueError, match=r"the row of 'a' names other features, a\.npy"):
        extract_to_files(videos[:1], out, model=pixel_model, crops=5)
    assert (out / "videos.csv").read_text() == listed
    assert not list(out.glob("a__*"))
    extract_to_files(videos, out, model=pixel_model, crops=5, overwrite=True)
    assert "a__0.npy;a__1.npy" in (out / "videos.csv").read_text()
