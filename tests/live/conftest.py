"""Footage of light and dark pictures, and a model whose score says which: 0.99 light, 0.01 dark."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from ladnet_fast import LANet
from ladnet_fast.live import Event, Listener, Score
from ladnet_fast.video.extractors import Preparation

av = pytest.importorskip("av")

LIGHT, DARK = 0.9933071, 0.0066929


class Brightness:
    """A stand-in for I3D: one row per snippet that says whether its pictures are light."""

    crops = 1
    frames_per_snippet = 16
    preparation = Preparation(32, 32)  # small pictures: fast tests

    def __init__(self, before: Callable[[], object] | None = None) -> None:
        self.before = before
        self.seen: list[np.ndarray] = []

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        if self.before is not None:
            self.before()
        self.seen.append(frames[:, 0, 0, 0].copy())
        level = np.float32(frames.mean() / 255 - 0.5)
        return np.array([[[level, -level, 0, 0]]], np.float32)


class Recording(Listener):
    """Remembers what it is told; ``on_score`` may do something at each score."""

    def __init__(self, on_score: Callable[[Score], object] | None = None) -> None:
        self.on_score = on_score
        self.scores: list[Score] = []
        self.events: list[Event] = []
        self.notes: list[str] = []
        self.videos: list[tuple[str, float | None, bool]] = []

    def score(self, score: Score) -> None:
        self.scores.append(score)
        if self.on_score is not None:
            self.on_score(score)

    def event(self, event: Event) -> None:
        self.events.append(event)

    def begun(self, name: str, rate: float | None, drops: bool) -> None:
        self.videos.append((name, rate, drops))

    def note(self, text: str) -> None:
        self.notes.append(text)

    @property
    def values(self) -> list[float]:
        return [round(score.score, 2) for score in self.scores]


def build_model() -> LANet:
    """LayerNorm makes (m, -m, 0, 0) of unit variance, whatever m > 0; the rest passes it on."""
    net = LANet(4, hidden_dim=4, mlp_dims=(1,), kernel_size=1, prior="none").eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.norm.weight.fill_(1)
        net.mlp[0].weight[0, 0] = 5 / 2**0.5
        net.classifier.weight.fill_(1)
    return net


@pytest.fixture
def model() -> LANet:
    return build_model()


def levels_of(pattern: str, each: int = 16) -> list[int]:
    """Brightness of each frame: "L" a light snippet, "d" a dark one."""
    return [220 if letter == "L" else 30 for letter in pattern for _ in range(each)]


@pytest.fixture
def write_levels() -> Callable[..., Path]:
    """Write a video of plain pictures, one for each level."""

    def write(
        path: Path,
        levels: list[int],
        *,
        codec: str = "libx264",
        rate: int = 25,
        format: str | None = None,
        options: dict[str, str] | None = None,
        size: tuple[int, int] = (64, 80),
    ) -> Path:
        with av.open(str(path), "w", format=format, options=options or {}) as container:
            stream = container.add_stream(
                codec, rate=rate, options={"tune": "zerolatency"} if codec == "libx264" else {}
            )
            stream.height, stream.width = size
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.gop_size = 8
            for i, level in enumerate(levels):
                image = np.full((*size, 3), level, np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.time_base, frame.pts = Fraction(1, rate), i
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return write


@pytest.fixture
def in_thread() -> Iterator[Callable[[Callable[[], object]], threading.Thread]]:
    """Start a function in a thread; it must have ended when the test ends."""
    threads: list[threading.Thread] = []

    def start(action: Callable[[], object]) -> threading.Thread:
        thread = threading.Thread(target=action)
        threads.append(thread)
        thread.start()
        return thread

    yield start
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
