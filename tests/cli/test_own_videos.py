"""Video files on the command line: features, then scores, in one go or two."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import Result

from ladnet_fast.engine import ModelConfig, save_model
from ladnet_fast.video import I3D

av = pytest.importorskip("av")
Run = Callable[..., Result]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Forty frames of moving noise at 25 frames a second."""
    path = tmp_path / "clip.mp4"
    noise = np.random.default_rng(0).integers(0, 256, (80, 96, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 80, "yuv420p"
        for i in range(40):
            frame = av.VideoFrame.from_ndarray(np.roll(noise, i, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(autouse=True)
def untrained_i3d(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network without the published weights: tests have no network connection."""

    def untrained(*_: object) -> I3D:
        torch.manual_seed(0)
        return I3D().fold().requires_grad_(False).eval()

    monkeypatch.setattr("ladnet_fast.video.extraction._pretrained", untrained)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    config = ModelConfig(feature_dim=1024, hidden_dim=8, mlp_dims=(8, 4))
    save_model(tmp_path / "model.safetensors", config.build(), config)
    return tmp_path / "model.safetensors"


def test_video_is_scored_in_one_go_and_in_two_alike(
    run: Run, clip: Path, model: Path, tmp_path: Path
) -> None:
    once = run("score", clip, "--model", model, "--out", tmp_path / "once", "--device", "cpu")
    assert once.exit_code == 0, once.output
    scores = np.load(tmp_path / "once" / "clip.npy")
    assert scores.shape == (2,)
    assert (tmp_path / "once" / "clip.png").is_file()

    extracted = run("extract", clip, "--out", tmp_path / "features", "--device", "cpu")
    assert extracted.exit_code == 0, extracted.output
    assert "clip: 2 snippets, done" in extracted.output
    options = json.loads((tmp_path / "features" / "run.json").read_text())["options"]
    assert options == {"crops": 1, "precision": "fp32", "device": "cpu"}
    manifest = tmp_path / "features" / "videos.csv"
    again = run("score", manifest, "--model", model, "--out", tmp_path / "two", "--no-plots")
    assert again.exit_code == 0, again.output
    assert np.array_equal(np.load(tmp_path / "two" / "clip.npy"), scores)
    # The manifest knows the number of frames; feature files alone don't.
    assert "1,16,31," in (tmp_path / "two" / "clip.csv").read_text()

    repeated = run("extract", clip, "--out", tmp_path / "features", "--device", "cpu")
    assert "clip: 2 snippets, was there" in repeated.output


def test_broken_video_is_named(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    result = run("score", tmp_path / "broken.mp4", "--model", model, "--out", tmp_path / "s")
    assert result.exit_code == 1
    assert "broken.mp4" in result.output
    assert "Traceback" not in result.output
