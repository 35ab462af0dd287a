from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast.demo import DemoOptions

for _package in ("av", "jinja2", "matplotlib", "sklearn", "accelerate", "yaml"):
    pytest.importorskip(_package)

TINY = DemoOptions(
    repeats=1,
    epochs=1,
    batch_size=4,
    train_bags=4,
    train_snippets=64,
    held_out_bags=2,
    held_out_snippets=64,
    background_takes=6,
    foreign_takes=8,
    held_out_foreign_takes=4,
    fades=1,
    disturbances=4,
    foreign_disturbances=2,
)


class ColourExtractor:
    """Stands in for I3D: a snippet's features are the mean and the spread of each colour."""

    def __init__(self, identity: str = "colours", fail_after: int | None = None) -> None:
        self.identity = identity
        self.calls = 0
        self.fail_after = fail_after

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        assert frames.dtype == np.uint8
        assert frames.shape[1:] == (224, 224, 3)
        if self.calls == self.fail_after:
            raise KeyboardInterrupt
        self.calls += 1
        pixels = frames[:, ::8, ::8].reshape(-1, 16 * 28 * 28, 3) / np.float32(255)
        return np.concatenate([pixels.mean(1), pixels.std(1)], axis=1)


@pytest.fixture(scope="session")
def tiny() -> DemoOptions:
    return TINY


@pytest.fixture(scope="session")
def make_extractor() -> type[ColourExtractor]:
    return ColourExtractor


@pytest.fixture
def write_video(tmp_path: Path) -> Callable[..., Path]:
    """Write a video of one colour with a bright square that moves, losslessly."""
    return partial(_write_video, tmp_path)


@pytest.fixture(scope="session")
def original_videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Background, two foreign ones, and the held-out foreign one, of different sizes."""
    write = partial(_write_video, tmp_path_factory.mktemp("videos"))
    return [
        write("street.mkv", (30, 90, 40), frames=200),
        write("cats.mkv", (140, 30, 30), frames=70, height=72, width=96),
        write("dogs.mkv", (150, 60, 20), frames=40),
        write("sea.mkv", (20, 40, 160), frames=64, height=60, width=48),
    ]


@pytest.fixture
def videos(original_videos: list[Path], tmp_path: Path) -> list[Path]:
    """Copies of them that a test may change."""
    return [Path(shutil.copy(video, tmp_path)) for video in original_videos]


def _write_video(
    folder: Path,
    name: str,
    colour: tuple[int, int, int],
    *,
    frames: int = 96,
    height: int = 36,
    width: int = 48,
) -> Path:
    import av

    path = folder / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = height, width, "bgr0"
        for index in range(frames):
            image = np.empty((height, width, 3), np.uint8)
            image[:] = colour
            left = index % (width - 8)
            image[8:16, left : left + 8] = 255
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        container.mux(stream.encode())
    return path
