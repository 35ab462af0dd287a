"""VGGish's front end by its description, its network by its port's keys, and sound of files."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from ladnet_fast.video.audio import (
    NoAudioError,
    VGGish,
    examples,
    extract_queries,
    load_vggish,
    log_mel,
    read_audio,
)
from ladnet_fast.video.errors import VideoError

av = pytest.importorskip("av")


def mel(hertz: float) -> float:
    return 1127 * math.log(1 + hertz / 700)


def reference(wave: np.ndarray) -> np.ndarray:
    """The published description, one frame, one bin and one band at a time."""
    edges = [mel(125) + i * (mel(7500) - mel(125)) / 65 for i in range(66)]
    triangles = np.zeros((257, 64))
    for k in range(1, 257):  # the constant bin is left out
        m = mel(k * 8000 / 256)
        for band in range(64):
            low, peak, high = edges[band : band + 3]
            triangles[k, band] = max(0.0, min((m - low) / (peak - low), (high - m) / (high - peak)))
    angles = -2j * np.pi * np.outer(np.arange(257), np.arange(400)) / 512
    fourier = np.exp(angles)
    rows = []
    start = 0
    while start + 400 <= len(wave):
        hann = [0.5 - 0.5 * math.cos(2 * math.pi * n / 400) for n in range(400)]
        magnitudes = np.abs(fourier @ (wave[start : start + 400] * np.array(hann)))
        rows.append(np.log(magnitudes @ triangles + 0.01))
        start += 160
    return np.array(rows)


@pytest.mark.parametrize("length", [400, 559, 560, 5000])
def test_the_front_end_is_the_published_one(length: int) -> None:
    rng = np.random.default_rng(0)
    wave = 0.3 * np.sin(np.arange(length) * 0.4) + 0.1 * rng.normal(size=length)
    got = log_mel(wave)
    expected = reference(wave)
    assert got.dtype == np.float32
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_too_little_sound_gives_no_frame() -> None:
    assert log_mel(np.zeros(399)).shape == (0, 64)
    assert examples(np.zeros(15_000)).shape == (0, 96, 64)
    with pytest.raises(ValueError, match="one channel"):
        log_mel(np.zeros((400, 2)))
    with pytest.raises(ValueError, match="hop_seconds"):
        examples(np.zeros(400), hop_seconds=0)


def test_patches_follow_one_another_or_snippets() -> None:
    wave = np.random.default_rng(0).normal(size=16_000 * 4)
    frames = log_mel(wave)
    apart = examples(wave)
    assert len(apart) == (len(frames) - 96) // 96 + 1
    np.testing.assert_array_equal(apart[1], frames[96:192])
    close = examples(wave, hop_seconds=16 / 25)
    np.testing.assert_array_equal(close[3], frames[192:288])
    longer = examples(wave, hop_seconds=16 / 25, count=9)
    np.testing.assert_array_equal(longer[: len(close)], close)
    np.testing.assert_allclose(longer[-1][-1], np.log(0.01), atol=1e-6)


class Port(torch.nn.Module):
    """The port's layers as its source lists them."""

    def __init__(self) -> None:
        super().__init__()
        nn = torch.nn
        sizes = [(1, 64), (64, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
        convs = [nn.Conv2d(*size, 3, padding=1) for size in sizes]
        pools = {0, 1, 3, 5}
        layers: list[torch.nn.Module] = []
        for i, conv in enumerate(convs):
            layers += [conv, nn.ReLU(), *([nn.MaxPool2d(2, 2)] if i in pools else [])]
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(512 * 24, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(),
            nn.Linear(4096, 128), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x).transpose(1, 3).transpose(1, 2).contiguous()
        return self.embeddings(x.view(x.shape[0], -1))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def port() -> Port:
    torch.manual_seed(0)
    return Port().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def weights(port: Port, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vggish") / "vggish.pth"
    torch.save({**port.state_dict(), "pproc.pca_means": torch.zeros(128, 1)}, path)
    return path


def test_the_ports_weights_give_the_ports_numbers(port: Port, weights: Path) -> None:
    net = load_vggish(weights)
    patches = np.random.default_rng(0).normal(size=(3, 96, 64)).astype(np.float32)
    expected = port(torch.from_numpy(patches)[:, None]).numpy()
    np.testing.assert_allclose(net.embed(patches, batch=2), expected, rtol=1e-4, atol=1e-6)
    assert net.embed(patches[:0]).shape == (0, 128)
    with pytest.raises(ValueError, match=r"patches must have shape \(N, 96, 64\)"):
        net(torch.zeros(2, 64, 96))


def test_other_weights_are_named(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"is not VGGish .*lacks features\.0\.bias"):
        load_vggish(tmp_path / "x.safetensors")


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Path]:
    """Write a video of grey frames at 25 frames/s, with a tone of 440 Hz or without sound."""

    def make(name: str, *, seconds: float = 3, rate: int | None = 44_100) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            picture = container.add_stream("mpeg4", rate=25)
            picture.width = picture.height = 32
            sound = None if rate is None else container.add_stream("pcm_s16le", rate=rate)
            if sound is not None:
                sound.layout = "stereo"
            for _ in range(round(25 * seconds)):
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 90, np.uint8))
                container.mux(picture.encode(frame))
            container.mux(picture.encode())
            if sound is not None and rate is not None:
                tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(rate * seconds)) / rate)
                both = np.repeat((tone * 32767).astype(np.int16), 2)[None]
                frame = av.AudioFrame.from_ndarray(both, format="s16", layout="stereo")
                frame.rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
                container.mux(sound.encode(frame))
                container.mux(sound.encode())
        return path

    return make


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_sound_of_any_rate_becomes_one_channel_at_16_khz(
    make_clip: Callable[..., Path], rate: int
) -> None:
    wave = read_audio(make_clip("tone.mkv", rate=rate))
    assert wave.dtype == np.float32
    assert abs(len(wave) - 48_000) <= 32
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(wave)) / 16_000)
    inner = slice(1000, 40_000)
    assert np.abs(wave[inner] - expected[inner]).max() < 0.01


def test_a_video_without_sound_is_named_and_the_others_go_on(
    make_clip: Callable[..., Path], weights: Path, tmp_path: Path
) -> None:
    loud, silent = make_clip("loud.mkv"), make_clip("silent.mkv", rate=None)
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(b"nothing")
    net = load_vggish(weights)
    outcomes = list(extract_queries([silent, broken, loud], [4, 4, 4], tmp_path / "q", net))
    assert [outcome.reason is None for outcome in outcomes] == [False, False, True]
    assert "silent.mkv has no audio track" in str(outcomes[0].reason)
    assert "broken.mkv" in str(outcomes[1].reason)
    rows = np.load(tmp_path / "q" / "loud__vggish.npy")
    assert rows.shape == (4, 128)
    assert rows.dtype == np.float32
    patches = examples(read_audio(loud), hop_seconds=16 / 25, count=4)
    np.testing.assert_array_equal(rows, net.embed(patches))
    with pytest.raises(ValueError, match="a number for each of 1 videos; got 2"):
        extract_queries([loud], [1, 2], tmp_path / "q", net)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="does not exist"):
        read_audio(tmp_path / "absent.mkv")
    assert issubclass(NoAudioError, VideoError)
    assert VGGish is not None
