from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ladnet_fast.video import I3D, VideoError, extract_features, iter_features, snippet_features

WriteVideo = Callable[..., Path]
MakeFrames = Callable[..., np.ndarray]


def expected_rows(count: int) -> np.ndarray:
    """What the pixel model says of `grey_frames`: each frame's grey thrice, in [-1, 1]."""
    grey = (5 * np.arange(count // 16 * 16) % 256) / 127.5 - 1
    rows = np.zeros((count // 16, 1024))
    rows[:, :48] = grey.repeat(3).reshape(-1, 48)
    return rows


@pytest.mark.parametrize(("snippets", "batch"), [(1, 8), (5, 2), (4, 4), (0, 3)])
def test_each_16_frames_give_one_row(
    pixel_model: I3D, grey_frames: MakeFrames, snippets: int, batch: int
) -> None:
    frames = grey_frames(snippets * 16)
    for given in (frames, torch.from_numpy(frames)):
        rows = snippet_features(pixel_model, given, batch=batch)
        assert rows.dtype == np.float32
        np.testing.assert_allclose(rows, expected_rows(len(frames)), atol=1e-6)
    np.testing.assert_array_equal(frames, grey_frames(snippets * 16))
    assert max(pixel_model.batches, default=0) <= batch


@pytest.mark.parametrize(
    ("frames", "batch", "error", "message"),
    [
        (np.zeros((16, 8, 8, 3), np.float32), 1, TypeError, "frames must be uint8"),
        (np.zeros((16, 3, 8, 8), np.uint8), 1, ValueError, r"\(T \* 16, H, W, 3\)"),
        (np.zeros((17, 8, 8, 3), np.uint8), 1, ValueError, "multiple of 16; got 17"),
        (np.zeros((16, 8, 8, 3), np.uint8), 0, ValueError, "batch must be None or at least 1"),
    ],
)
def test_bad_frames_are_refused(
    pixel_model: I3D, frames: np.ndarray, batch: int, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        snippet_features(pixel_model, frames, batch=batch)


@pytest.mark.parametrize("count", [16, 31, 32, 70])
@pytest.mark.parametrize(("crops", "batch"), [(1, 1), (1, 3), (5, 8), (10, 4)])
def test_a_video_gives_its_complete_snippets_for_every_crop(
    write_video: WriteVideo,
    pixel_model: I3D,
    grey_frames: MakeFrames,
    tmp_path: Path,
    count: int,
    crops: int,
    batch: int,
) -> None:
    path = write_video(tmp_path / "a.mkv", grey_frames(count))
    features = extract_features(path, model=pixel_model, crops=crops, batch=batch)
    assert features.dtype == np.float32
    assert features.shape == (crops, count // 16, 1024)
    np.testing.assert_allclose(features, np.stack([expected_rows(count)] * crops), atol=1e-6)
    assert max(pixel_model.batches) <= batch


def test_crops_are_kept_apart(write_video: WriteVideo, pixel_model: I3D, tmp_path: Path) -> None:
    frames = np.zeros((40, 256, 256, 3), np.uint8)
    frames[:, :32, :32] = 255  # seen by the upper left crop, and in part by the centre
    path = write_video(tmp_path / "a.mkv", frames)
    features = extract_features(path, model=pixel_model, crops=10, batch=3)
    area = np.array([16**2, 32**2, 0, 0, 0]) / 224**2
    expected = np.tile(2 * area - 1, 2)
    np.testing.assert_allclose(features[:, :, 0], np.stack([expected] * 2, axis=1), atol=1e-6)


def test_pieces_join_to_the_whole_and_count_the_frames(
    write_video: WriteVideo, pixel_model: I3D, grey_frames: MakeFrames, tmp_path: Path
) -> None:
    path = write_video(tmp_path / "a.mkv", grey_frames(100))
    chunks = list(iter_features(path, model=pixel_model, crops=5, batch=4))
    assert len(chunks) > 2
    assert chunks[-1].num_frames == 100
    joined = np.concatenate([chunk.features for chunk in chunks], axis=1)
    np.testing.assert_array_equal(joined, extract_features(path, model=pixel_model, crops=5))


def test_progress_reaches_the_end(
    write_video: WriteVideo, pixel_model: I3D, grey_frames: MakeFrames, tmp_path: Path
) -> None:
    path = write_video(tmp_path / "a.mkv", grey_frames(50))
    calls: list[tuple[str, int, int | None]] = []
    extract_features(path, model=pixel_model, batch=1, progress=lambda *call: calls.append(call))
    assert calls == [("a.mkv", n, 50) for n in (16, 32, 48, 50)]


def test_a_video_shorter_than_a_snippet_is_named(
    write_video: WriteVideo, pixel_model: I3D, grey_frames: MakeFrames, tmp_path: Path
) -> None:
    path = write_video(tmp_path / "short.mkv", grey_frames(15))
    with pytest.raises(VideoError, match=r"short\.mkv: has 15 frames, but a snippet is 16"):
        extract_features(path, model=pixel_model)


def test_bad_arguments_are_refused_before_decoding(pixel_model: I3D) -> None:
    with pytest.raises(ValueError, match="crops must be"):
        iter_features("absent.mp4", model=pixel_model, crops=3)
    with pytest.raises(ValueError, match="batch must be"):
        iter_features("absent.mp4", model=pixel_model, batch=0)


def test_the_real_network_serves(
    write_video: WriteVideo, grey_frames: MakeFrames, tmp_path: Path
) -> None:
    model = I3D().eval().requires_grad_(False).fold()
    path = write_video(tmp_path / "a.mkv", grey_frames(16, 224, 256))
    features = extract_features(path, model=model)
    assert features.shape == (1, 1, 1024)
    assert np.isfinite(features).all()
    assert features.any()
