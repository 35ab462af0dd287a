from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ladnet_fast.video.i3d import Unit3d


class PixelModel(nn.Module):
    """Stands in for I3D: feature t * 3 + c is the mean of channel c in frame t, the rest is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_1a = Unit3d(3, 1, kernel=1)  # callers read the dtype and device here
        self.batches: list[int] = []

    def forward(self, clips: Tensor) -> Tensor:
        self.batches.append(len(clips))
        means = clips.mean(dim=(3, 4)).transpose(1, 2).flatten(1)
        return torch.nn.functional.pad(means, (0, 1024 - means.shape[1]))


@pytest.fixture
def pixel_model() -> PixelModel:
    return PixelModel()


@pytest.fixture
def write_video() -> Callable[..., Path]:
    """Write (n, H, W, 3) uint8 frames; the default codec is lossless in RGB."""
    av = pytest.importorskip("av")

    def write(
        path: Path,
        frames: np.ndarray,
        *,
        codec: str = "ffv1",
        pix_fmt: str = "bgr0",
        pts: Sequence[int] | None = None,
        options: dict[str, str] | None = None,
    ) -> Path:
        with av.open(str(path), "w", options=options or {}) as container:
            stream = container.add_stream(codec, rate=25)
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = pix_fmt
            for index, image in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.time_base = Fraction(1, 25)
                frame.pts = index if pts is None else pts[index]
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return write


@pytest.fixture
def grey_frames() -> Callable[..., np.ndarray]:
    """``n`` frames; every pixel of frame i has the value 5 * i (mod 256) in all channels."""

    def make(n: int, height: int = 64, width: int = 80) -> np.ndarray:
        values = (5 * np.arange(n) % 256).astype(np.uint8)
        return np.broadcast_to(values[:, None, None, None], (n, height, width, 3)).copy()

    return make
