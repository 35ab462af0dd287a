"""Video files on the command line: features, then scores, in one go or two."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import Result

from ladnet_fast.engine import ModelConfig, save_model
from ladnet_fast.video import I3D

from ..pixels import Pixels

av = pytest.importorskip("av")
Run = Callable[..., Result]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Forty frames of moving noise at 25 frames per second."""
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


def video(path: Path, frames: int, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(noise, i, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture
def quick_i3d(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for I3D: the mean of each frame."""
    monkeypatch.setattr("ladnet_fast.video.extraction._pretrained", lambda *_: Pixels().eval())


@pytest.mark.usefixtures("quick_i3d")
class TestSameNames:
    """A camera's file is always called latest.mp4."""

    def test_the_same_file_recorded_again_gets_its_own_scores(
        self, run: Run, model: Path, tmp_path: Path
    ) -> None:
        latest = video(tmp_path / "latest.mp4", 16, 1)
        call = ("score", latest, "--model", model, "--out", tmp_path / "s", "--device", "cpu")
        assert run(*call).exit_code == 0
        first = np.load(tmp_path / "s" / "latest.npy")
        video(latest, 48, 2)
        result = run(*call)
        assert result.exit_code == 0, result.output
        second = np.load(tmp_path / "s" / "latest.npy")
        assert (len(first), len(second)) == (1, 3)
        assert "were there" not in result.output
        third = run(*call)
        assert "1 of 1 videos were there" in third.output

    def test_another_file_of_that_name_is_refused_and_nothing_is_lost(
        self, run: Run, model: Path, tmp_path: Path
    ) -> None:
        monday = video(tmp_path / "mon" / "latest.mp4", 16, 1)
        tuesday = video(tmp_path / "tue" / "latest.mp4", 48, 2)
        call = ("--model", model, "--out", tmp_path / "s", "--device", "cpu")
        assert run("score", monday, *call).exit_code == 0
        first = np.load(tmp_path / "s" / "latest.npy")
        result = run("score", tuesday, *call)
        assert result.exit_code == 1
        assert "holds the features of another video" in result.stderr
        assert str(monday) in result.stderr
        assert np.array_equal(np.load(tmp_path / "s" / "latest.npy"), first)
        assert run("score", tuesday, *call, "--overwrite").exit_code == 0
        assert len(np.load(tmp_path / "s" / "latest.npy")) == 3


@pytest.mark.usefixtures("quick_i3d")
def test_a_folder_of_videos_keeps_its_structure_and_one_bad_file_stops_no_other(
    run: Run, model: Path, tmp_path: Path
) -> None:
    cams = tmp_path / "cams"
    for place in ("north", "south/gate"):
        video(cams / place / "cam.mp4", 32, 0)
    (cams / "north" / "bad.avi").write_text("no video")
    out = tmp_path / "s"
    call = ("score", cams, "--model", model, "--out", out, "--device", "cpu", "--no-plots")
    result = run(*call)
    assert result.exit_code == 1
    assert "1 of 3 videos could not be done:\n  north/bad: " in result.stderr
    assert {str(path.relative_to(out)) for path in out.rglob("*.npy")} == {
        "north/cam.npy", "south/gate/cam.npy",
        "features/north/cam.npy", "features/south/gate/cam.npy",
    }  # fmt: skip
    (cams / "north" / "bad.avi").unlink()
    again = run(*call)
    assert again.exit_code == 0
    assert "2 of 2 videos were there" in again.output
    extracted = run("extract", cams, "--out", tmp_path / "f", "--device", "cpu")
    assert extracted.exit_code == 0, extracted.output
    rows = (tmp_path / "f" / "videos.csv").read_text().splitlines()
    assert rows[1].startswith("north/cam,north/cam.npy,,32,")
    scored = run("score", tmp_path / "f", "--model", model, "--out", tmp_path / "t", "--no-plots")
    assert scored.exit_code == 0, scored.output
    assert (tmp_path / "t" / "south" / "gate" / "cam.npy").is_file()


@pytest.mark.usefixtures("quick_i3d")
def test_an_extractor_of_somebody_else_is_not_replaced(
    run: Run, clip: Path, tmp_path: Path
) -> None:
    theirs = np.ones((9, 2048), np.float32)
    np.save(tmp_path / "clip.npy", theirs)
    result = run("extract", clip, "--out", tmp_path, "--device", "cpu")
    assert result.exit_code == 1
    assert "clip.npy would be replaced, but ladnet-fast did not write it" in result.stderr
    assert np.array_equal(np.load(tmp_path / "clip.npy"), theirs)


@pytest.mark.usefixtures("quick_i3d")
def test_extract_goes_on_after_a_video_that_is_absent_or_broken(
    run: Run, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.mp4").write_text("no video")
    result = run(
        "extract", tmp_path / "absent.mp4", tmp_path / "broken.mp4", clip, "--out", tmp_path / "f",
        "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "2 of 3 videos gave no features" in result.stderr
    assert "no such video file" in result.stderr
    assert (tmp_path / "f" / "clip.npy").is_file()


def test_other_crops_are_refused_before_features_are_extracted_for_them(
    run: Run, clip: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scores"
    arguments = ("score", clip, "--model", model, "--out", out, "--device", "cpu", "--no-plots")
    assert run(*arguments).exit_code == 0
    result = run(*arguments, "--crops", "5")
    assert result.exit_code == 1
    assert "holds scores of 1 crop, and now there are 5" in result.output
    assert not list((out / "features").glob("clip__*"))


@pytest.mark.usefixtures("quick_i3d")
class TestRatesAndPrecisions:
    """Frames by time, and features of one kind in a folder."""

    def test_frames_are_chosen_by_time_and_counted_so(
        self, run: Run, clip: Path, model: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "s"
        call = ("score", clip, "--model", model, "--out", out, "--device", "cpu", "--fps", "50")
        result = run(*call)
        assert result.exit_code == 0, result.output
        assert np.load(out / "clip.npy").shape == (5,)
        assert (out / "features" / "videos.csv").read_text().splitlines()[1].endswith(",80,16,50")
        assert (out / "clip.csv").read_text().splitlines()[-1].startswith("4,64,79,")
        refused = run(*call[:-2])
        assert refused.exit_code == 1
        assert "fps 50.0 then, None now" in refused.stderr
        assert "--fps 50" in refused.stderr

    def test_a_slow_video_is_told_of_with_the_remedy(
        self, run: Run, model: Path, tmp_path: Path
    ) -> None:
        slow = tmp_path / "slow.mkv"
        with av.open(str(slow), "w") as container:
            stream = container.add_stream("mpeg4", rate=5)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            for _ in range(20):
                frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        extracted = run("extract", slow, "--out", tmp_path / "f", "--device", "cpu")
        assert extracted.exit_code == 0, extracted.output
        text = " ".join(extracted.output.split())
        assert "note: slow has 5 frames per second, so 16 frames show 3.2 s" in text
        assert "--fps 25" in text
        call = ("extract", slow, "--out", tmp_path / "g", "--device", "cpu", "--fps", "25")
        resampled = run(*call)
        assert resampled.exit_code == 0, resampled.output
        assert "note:" not in resampled.output
        assert "slow: 6 snippets, done" in resampled.output

    def test_another_precision_is_refused_in_a_folder_with_the_options_of_then(
        self, run: Run, clip: Path, tmp_path: Path
    ) -> None:
        other = clip.with_name("other.mp4")
        other.write_bytes(clip.read_bytes())
        call = ("--out", tmp_path / "f", "--device", "cpu", "--precision")
        assert run("extract", clip, *call, "bf16").exit_code == 0
        refused = run("extract", other, *call, "fp32")
        assert refused.exit_code == 1
        assert "--engine torch --precision bf16" in " ".join(refused.stderr.split())

    @pytest.mark.parametrize("command", ["extract", "score"])
    def test_videos_that_are_decoded_at_once_give_the_same(
        self, run: Run, clip: Path, model: Path, tmp_path: Path, command: str
    ) -> None:
        clips = [clip, clip.with_name("b.mp4"), clip.with_name("c.mp4")]
        for copy in clips[1:]:
            copy.write_bytes(clip.read_bytes())
        needed = ("--model", model) if command == "score" else ()
        for out, decoders in ("one", "1"), ("three", "3"):
            call = ("--out", tmp_path / out, "--device", "cpu", "--decoders", decoders)
            result = run(command, *clips, *needed, *call)
            assert result.exit_code == 0, result.output
        for name in (f"{path.stem}.npy" for path in clips):
            one, three = (np.load(tmp_path / out / name) for out in ("one", "three"))
            np.testing.assert_array_equal(one, three)

    @pytest.mark.parametrize("command", ["extract", "score"])
    def test_openvino_that_is_absent_is_named_with_its_extra(
        self, run: Run, clip: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        command: str,
    ) -> None:  # fmt: skip
        monkeypatch.setitem(sys.modules, "openvino", None)
        needed = ("--model", model) if command == "score" else ()
        result = run(command, clip, *needed, "--out", tmp_path / "o", "--engine", "openvino")
        assert result.exit_code == 1
        assert "ladnet-fast[openvino]" in result.stderr
        assert not (tmp_path / "o").exists()
        chosen = run(
            command, clip, *needed, "--out", tmp_path / "o", "--engine", "auto", "--device", "cpu",
        )  # fmt: skip
        assert chosen.exit_code == 0, chosen.output
        assert "engine: torch" in chosen.output
