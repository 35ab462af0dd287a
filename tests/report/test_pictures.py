"""Pictures at the peaks."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast.report import peaks, pictures_of
from ladnet_fast.report.pictures import PictureError

from .conftest import write_clip

av = pytest.importorskip("av")


def decoded(jpeg: bytes) -> np.ndarray:
    with av.open(io.BytesIO(jpeg), format="jpeg_pipe") as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def test_peaks_are_tops_apart_from_one_another() -> None:
    curve = np.full(120, 0.1)
    curve[20:23] = 0.8, 0.9, 0.85  # the slope of a top is none
    curve[24] = 0.88  # near a higher one
    curve[80] = 0.95
    curve[110] = 0.3  # under half of the highest
    assert peaks(curve) == [80, 21]
    assert peaks(curve, 1) == [80]
    assert peaks(curve, 0) == []
    assert peaks([0.5]) == [0]


def test_a_picture_shows_the_frame_of_its_time(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a:b.webm")
    for frame in (0, 40, 99, 149):
        (jpeg,) = pictures_of(clip, [(frame + 0.5) / 25])
        image = decoded(jpeg)
        assert image.shape == (90, 160, 3)
        assert abs(float(image.mean()) - (40 + frame)) < 4


def test_a_time_after_the_end_gives_the_last_frame(tmp_path: Path) -> None:
    (jpeg,) = pictures_of(write_clip(tmp_path / "c.webm"), [1000.0])
    assert abs(float(decoded(jpeg).mean()) - 189) < 4


@pytest.mark.parametrize("content", [None, b"", b"no video", b"RIFF"])
def test_a_file_without_pictures_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PictureError, match=r"broken\.mp4: gives no picture"):
        pictures_of(path, [0.0])
