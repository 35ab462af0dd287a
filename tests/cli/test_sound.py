"""The sound of video files on the command line: queries beside features, and scores with them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import Result

from ladnet_fast.data import load_features, read_manifest
from ladnet_fast.engine import ModelConfig, save_model
from ladnet_fast.video.extractors import I3DExtractor

from ..pixels import Pixels

av = pytest.importorskip("av")

Run = Callable[..., Result]


class Loudness(nn.Module):
    """In VGGish's place: 128 times the mean of a patch."""

    width = 128

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def embed(self, patches: np.ndarray, batch: int = 32) -> np.ndarray:
        means = patches.reshape(len(patches), -1).mean(1, keepdims=True)
        return np.repeat(means * self.factor.item(), 128, axis=1).astype(np.float32)


@pytest.fixture(autouse=True)
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ladnet_fast.video.extractors.factory.i3d",
        lambda *_, **__: I3DExtractor(lambda: Pixels().eval()),
    )

    def load(file: str, *, device: str) -> Loudness:
        return Loudness({"a.pth": 1.0, "b.pth": 2.0}[file])

    monkeypatch.setattr("ladnet_fast.video.audio.sound.load_vggish", load)


def write_clip(path: Path, *, loud: bool = True, seconds: float = 3) -> Path:
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=25)
        picture.width = picture.height = 32
        sound = container.add_stream("pcm_s16le", rate=16_000) if loud else None
        if sound is not None:
            sound.layout = "mono"
        for i in range(round(25 * seconds)):
            image = np.full((32, 32, 3), 40 + i, np.uint8)
            container.mux(picture.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(picture.encode())
        if sound is not None:
            wave = 0.5 * np.sin(np.arange(round(16_000 * seconds)) * 0.2)
            samples = (wave * 32767).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.rate, frame.time_base, frame.pts = 16_000, Fraction(1, 16_000), 0
            container.mux(sound.encode(frame))
            container.mux(sound.encode())
    return path


@pytest.fixture
def cams(tmp_path: Path) -> Path:
    """Two videos in a folder, one of them in a subfolder and without sound."""
    (tmp_path / "cams" / "yard").mkdir(parents=True)
    write_clip(tmp_path / "cams" / "gate.mkv")
    write_clip(tmp_path / "cams" / "yard" / "silent.mkv", loud=False)
    return tmp_path / "cams"


def model(path: Path, query_dim: int | None) -> Path:
    config = ModelConfig(feature_dim=1024, hidden_dim=8, mlp_dims=(8, 4), query_dim=query_dim)
    save_model(path, config.build(), config)
    return path


def extract(run: Run, cams: Path, out: Path, *more: str) -> Result:
    return run("extract", cams, "--out", out, "--device", "cpu", "--sound", "vggish:a.pth", *more)


def test_extract_writes_queries_that_the_manifest_names(
    run: Run, cams: Path, tmp_path: Path
) -> None:
    out = tmp_path / "features"
    result = extract(run, cams, out)
    assert result.exit_code == 1
    assert "yard/silent: has features, but no sound" in result.output
    assert "no audio track" in result.output
    gate, silent = read_manifest(out / "videos.csv")
    assert gate.query is not None
    assert gate.query.path == out / "gate__vggish.npy"
    assert silent.query is None
    assert load_features(gate.query).shape == (len(load_features(gate.features[0])), 128)
    before = gate.query.path.stat().st_mtime_ns
    assert extract(run, cams, out).exit_code == 1
    assert gate.query.path.stat().st_mtime_ns == before  # it was there


def test_features_that_were_there_get_their_sound_later(
    run: Run, cams: Path, tmp_path: Path
) -> None:
    out = tmp_path / "features"
    assert run("extract", cams, "--out", out, "--device", "cpu").exit_code == 0
    before = (out / "gate.npy").stat().st_mtime_ns
    extract(run, cams, out)
    assert (out / "gate.npy").stat().st_mtime_ns == before
    assert read_manifest(out / "videos.csv")[0].query is not None


def test_a_video_recorded_anew_is_heard_anew(run: Run, cams: Path, tmp_path: Path) -> None:
    out = tmp_path / "features"
    extract(run, cams, out)
    write_clip(cams / "gate.mkv", seconds=5)
    extract(run, cams, out)
    (gate, _) = read_manifest(out / "videos.csv")
    assert gate.query is not None
    assert len(load_features(gate.query)) == len(load_features(gate.features[0])) == 7


@pytest.mark.parametrize("what", ["weights", "video", "file"])
def test_the_sound_of_something_else_is_in_the_way(
    run: Run, cams: Path, tmp_path: Path, what: str
) -> None:
    out = tmp_path / "features"
    extract(run, cams, out)
    query = out / "gate__vggish.npy"
    before = query.read_bytes()
    spec, more = "vggish:a.pth", ()
    if what == "weights":
        spec, more = "vggish:b.pth", ("--sound", "vggish:b.pth")
    elif what == "video":
        (cams / "gate.mkv").rename(tmp_path / "kept.mkv")
        other = tmp_path / "others"
        other.mkdir()
        write_clip(other / "gate.mkv", seconds=4)
        cams = other
    else:
        query.write_bytes(b"mine")
        before = b"mine"
    result = extract(run, cams, out, *more)
    assert result.exit_code == 1, spec
    assert "--overwrite" in result.output
    assert query.read_bytes() == before
    if what == "weights":
        extract(run, cams, out, *more, "--overwrite")
        assert query.read_bytes() != before


def test_a_model_with_queries_scores_a_video_with_its_sound(
    run: Run, cams: Path, tmp_path: Path
) -> None:
    net = model(tmp_path / "heard.safetensors", 128)
    call = ["score", cams, "--model", net, "--out", tmp_path / "s", "--no-plots"]
    result = run(*call, "--device", "cpu")
    assert result.exit_code == 1
    assert "--sound vggish:FILE" in result.output
    result = run(*call, "--device", "cpu", "--sound", "vggish:a.pth")
    assert result.exit_code == 1
    assert "yard/silent" in result.output
    assert "no audio track" in result.output
    assert np.load(tmp_path / "s" / "gate.npy").shape == (4,)
    assert not (tmp_path / "s" / "yard" / "silent.npy").exists()


@pytest.mark.parametrize("width", [None, 64])
def test_a_model_without_such_queries_is_told(
    run: Run, cams: Path, tmp_path: Path, width: int | None
) -> None:
    net = model(tmp_path / "deaf.safetensors", width)
    result = run(
        "score", cams, "--model", net, "--out", tmp_path / "s", "--sound", "vggish:a.pth",
        "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "sound gives queries of width 128" in result.output


@pytest.mark.parametrize("spec", ["vggish", "vggish:", "yamnet:a.pth", ""])
def test_what_names_no_weights_is_refused(run: Run, cams: Path, tmp_path: Path, spec: str) -> None:
    result = run("extract", cams, "--out", tmp_path / "f", "--device", "cpu", "--sound", spec)
    assert result.exit_code == 1
    assert "--sound must be vggish:FILE" in result.output
    assert not (tmp_path / "f").exists()
