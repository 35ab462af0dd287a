"""``ladnet-fast watch``: lines for programs, sentences for people, and the exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from ladnet_fast.cli.app import app
from ladnet_fast.engine import ModelConfig, save_model
from ladnet_fast.video.extractors import Preparation

from .conftest import levels_of


class Wide:
    """A stand-in for I3D, as wide as it."""

    name, width, frames_per_snippet, device = "wide", 1024, 16, "cpu"
    preparation = Preparation(32, 32)
    settings: ClassVar[dict[str, str]] = {"network": "wide", "weights": "", "precision": "float32"}

    def load(self) -> None:
        pass

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        return np.zeros((len(clips), 1024), np.float32)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr("ladnet_fast.video.extractors.make_extractor", lambda *_, **__: Wide())
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["watch", *map(str, arguments)])

    return call


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    config = ModelConfig(feature_dim=1024, hidden_dim=4, mlp_dims=(4,))
    save_model(tmp_path / "model.safetensors", config.build(), config)
    return tmp_path / "model.safetensors"


@pytest.fixture
def clip(write_levels: Callable[..., Path], tmp_path: Path) -> Path:
    return write_levels(tmp_path / "a.ts", levels_of("dLd"))


def lines_of(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_events_and_totals_are_lines_of_json(
    run: Callable[..., Result], trained: Path, clip: Path, tmp_path: Path
) -> None:
    told = tmp_path / "told.txt"
    tell = f"sh -c 'cat >> {told}'"
    result = run(
        clip, "--model", trained, "--threshold", 0, "--for", 0, "--idle", 0, "--json-scores",
        "--exec", tell, "--clips", tmp_path / "clips", "--thumbnails", tmp_path / "pictures",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    lines = lines_of(result)
    kinds = [line["type"] for line in lines]
    assert kinds == ["score", "alert", "score", "score", "alert", "summary"]
    assert lines[0].keys() >= {"source", "snippet", "time", "wall", "score", "delay"}
    start, end = lines[1], lines[4]
    assert (start["state"], start["event"], start["source"]) == ("start", 1, str(clip))
    assert (end["state"], end["reason"], end["until"]) == ("end", "end", 1.92)
    assert start["wall"].endswith("Z")
    assert Path(end["clip"]).is_file()
    assert Path(end["thumbnail"]).is_file()
    assert [json.loads(line) for line in told.read_text().splitlines()] == [start, end]
    assert (lines[5]["snippets"], lines[5]["dropped"], lines[5]["alerts"]) == (3, 0, 1)
    assert "event 1 began at 0:00:00" in result.stderr
    assert "a window of 938 snippets is 0:10:00" in result.stderr
    assert "3 snippets scored" in result.stderr
    assert "0 of 48 frames dropped" in result.stderr


def test_without_events_only_the_totals_are_printed(
    run: Callable[..., Result], trained: Path, clip: Path
) -> None:
    result = run(clip, "--model", trained, "--threshold", 1, "--idle", 0, "--engine", "auto")
    assert result.exit_code == 0, result.output
    assert [line["type"] for line in lines_of(result)] == ["summary"]


def test_what_failed_on_the_way_is_in_the_exit_status(
    run: Callable[..., Result], trained: Path, clip: Path, tmp_path: Path
) -> None:
    failing = run(
        clip, "--model", trained, "--threshold", 0, "--for", 0, "--idle", 0, "--exec", "false"
    )
    assert failing.exit_code == 1
    assert "--exec false: ended with status 1" in failing.stderr
    assert lines_of(failing)[-1]["failed_commands"] == 2
    folder = tmp_path / "in"
    folder.mkdir()
    clip.rename(folder / "good.ts")
    (folder / "bad.ts").write_bytes(bytes(2000))
    mixed = run(folder, "--model", trained, "--threshold", 1, "--idle", 0, "--settle", 0)
    assert mixed.exit_code == 1
    summary = lines_of(mixed)[-1]
    assert (summary["snippets"], len(summary["failures"])) == (3, 1)
    assert summary["failures"][0]["source"] == str(folder / "bad.ts")


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["/dev/video97"], 1, "no such device"),
        (["nothing.ts"], 1, "nothing.ts: no such file or folder"),
        (["-", "--input-option", "rtsp_transport"], 2, "NAME=VALUE"),
        (["-", "--precision", "int8"], 2, "calibrated on video files"),
        (["-", "--crops", 3], 1, "crops must be 1"),
        (["-", "--threshold", 0.5, "--release", 0.7], 1, "release must be in"),
        (["-", "--window", 5, "--delay", 5], 1, "delay must be less than window"),
        (["-", "--exec", "no-such-program"], 1, "no such program"),
    ],
    ids=["device", "file", "option", "precision", "crops", "release", "delay", "exec"],
)
def test_what_makes_no_sense_is_told_before_anything_is_read(
    run: Callable[..., Result], trained: Path, arguments: list[object], status: int, says: str
) -> None:
    result = run(*arguments, "--model", trained)
    assert result.exit_code == status, result.output
    assert says in result.stderr
    assert result.stdout == ""


def test_a_model_of_other_features_is_refused(
    run: Callable[..., Result], clip: Path, tmp_path: Path
) -> None:
    config = ModelConfig(feature_dim=24, hidden_dim=4, mlp_dims=(4,))
    save_model(tmp_path / "other.safetensors", config.build(), config)
    result = run(clip, "--model", tmp_path / "other.safetensors")
    assert result.exit_code == 1
    assert "24 wide" in result.stderr


def test_a_model_of_another_extractors_features_is_refused(
    run: Callable[..., Result], clip: Path, tmp_path: Path
) -> None:
    config = ModelConfig(feature_dim=1024, hidden_dim=4, mlp_dims=(4,))
    made = {"network": "clip", "weights": "abc", "precision": "float32"}
    save_model(tmp_path / "other.safetensors", config.build(), config, trained_on=made)
    result = run(clip, "--model", tmp_path / "other.safetensors")
    assert result.exit_code == 1
    assert "but the model was trained on those of clip" in " ".join(result.stderr.split())


_WATCH = """
import sys
import numpy as np
from ladnet_fast.cli import main
from ladnet_fast.video import extractors
from ladnet_fast.video.extractors import Preparation

class Rows:
    name, width, frames_per_snippet, device = "rows", 1024, 16, "cpu"
    preparation, settings = Preparation(32, 32), {}
    def load(self):
        pass
    def __call__(self, clips):
        return np.zeros((len(clips), 1024), np.float32)

extractors.make_extractor = lambda *_, **__: Rows()
sys.argv = ["ladnet-fast", "watch", "-", *sys.argv[1:]]
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_a_watch_in_good_order(trained: Path, clip: Path, name: str) -> None:
    arguments = ["--model", str(trained), "--threshold", "0", "--for", "0", "--json-scores"]
    with subprocess.Popen(
        [sys.executable, "-c", _WATCH, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(clip.read_bytes())
        process.stdin.flush()  # and the pipe stays open
        assert json.loads(process.stdout.readline())["type"] == "score"
        process.send_signal(getattr(signal, name))
        rest = [json.loads(line) for line in process.stdout.read().splitlines()]
        assert process.wait(60) == 0
    assert [line["type"] for line in rest][-1] == "summary"
    assert rest[-1]["stopped"]
    assert [line["reason"] for line in rest if line["type"] == "alert"][-1] == "stopped"
