"""One message and the right exit status: 1 for what is wrong with data, 2 for usage."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

Run = Callable[..., Result]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train absent.csv", "manifest absent.csv does not exist"),
        ("train {csv} --set training.epochz=1", "did you mean training.epochs?"),
        ("train {csv} --config absent.yaml", "configuration absent.yaml does not exist"),
        ("train {csv} --select-on-test", "needs test videos"),
        ("train {csv} --folds 7", "got 7, and the folds are [0, 1]"),
        ("train {csv} --test {csv}", "8 videos are in training and test"),
        ("train {csv} --layout ucf-i3d", "UCF-Crime"),
        ("score {csv} --model absent", "model absent does not exist"),
        ("score {csv} --model {dir}", "holds no model.safetensors"),
        ("evaluate absent {csv}", "8 of 8 videos have no scores"),
        ("extract absent.mp4 --out {dir}/f", "no such video file: absent.mp4"),
    ],
)
def test_bad_data_gives_one_message_and_status_1(
    run: Run, manifest: Path, tmp_path: Path, arguments: str, message: str
) -> None:
    result = run(*arguments.format(csv=manifest, dir=tmp_path).split())
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train", "Missing argument"),
        ("fly", "No such command"),
        ("train list.txt", "unless --layout says"),
        ("train {csv} --root x", "--root are for lists"),
        ("train {csv} --epochs many", "--epochs"),
        ("train {csv} --epochs 3 --set training.epochs=3", "given twice"),
        ("train {csv} --folds all --test {csv}", "leave --test"),
        ("train {csv} --folds some", "'all' or numbers"),
        ("train {csv} --split a --layout ucf-i3d", "a list has no splits"),
        ("train {csv} --boundaries (s,e)", "--boundaries must be one of"),
        ("train x.list --layout ucf-i3d --remap D:", "OLD=NEW"),
        ("evaluate scores {csv} --smooth mean:3", "fixed:K or slide:K"),
        ("evaluate scores {csv} --smooth fixed:0", "fixed:K or slide:K"),
        ("score {csv} --model m --device tpu", "--device must be"),
        ("extract x.mp4 --precision fp8", "--precision must be one of fp32, bf16, fp16, int8"),
        (
            "extract x.mp4 --engine tensorrt",
            "--engine must be one of torch, compile, openvino, auto",
        ),
        (
            "score {csv} --model m --precision fp8",
            "--precision must be one of fp32, bf16, fp16, int8",
        ),
        (
            "score {csv} --model m --scoring-precision int8",
            "--scoring-precision must be one of fp32, bf16; got 'int8'",
        ),
    ],
)
def test_bad_usage_gives_status_2(run: Run, manifest: Path, arguments: str, message: str) -> None:
    result = run(*arguments.format(csv=manifest).split())
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.replace("│", " ").split())


def test_several_splits_need_a_choice(run: Run, split_manifest: Path) -> None:
    result = run("train", split_manifest)
    assert result.exit_code == 2
    assert "has the splits test, train" in result.output
    result = run("train", split_manifest, "--split", "dev")
    assert result.exit_code == 1
    assert "the splits are: test, train" in result.output


def test_two_inputs_of_one_name_and_mixed_inputs_are_refused(
    run: Run, manifest: Path, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    np.save(tmp_path / "other" / "v0.npy", np.zeros((3, 6), np.float32))
    twice = run(
        "score", tmp_path / "v0.npy", tmp_path / "other" / "v0.npy", "--model", trained,
        "--out", tmp_path / "s",
    )  # fmt: skip
    assert twice.exit_code == 1
    assert "are both crop 0 of 'v0'" in twice.output
    mixed = run("score", tmp_path / "v0.npy", manifest, "--model", trained)
    assert mixed.exit_code == 2
    assert "alone" in mixed.output


def test_features_of_another_width_are_refused_before_scoring(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "wide.npy", np.zeros((3, 9), np.float32))
    result = run("score", tmp_path / "wide.npy", "--model", trained, "--out", tmp_path / "s")
    assert result.exit_code == 1
    assert "features are 9 wide, but the model was trained on 6" in result.output
    assert not (tmp_path / "s").exists()


def test_implementation_that_cannot_serve_says_why(
    run: Run, manifest: Path, trained: Path, tmp_path: Path
) -> None:
    result = run("score", manifest, "--model", trained, "--impl", "cuda", "--out", tmp_path / "s")
    assert result.exit_code == 1
    assert "impl='cuda' cannot serve locality_attention" in result.output


def test_run_that_is_there_already_is_not_overwritten(
    run: Run, manifest: Path, trained: Path
) -> None:
    result = run("train", manifest, "--out", trained)
    assert result.exit_code == 1
    assert "already holds a training run" in result.output


def test_debug_shows_the_traceback(run: Run) -> None:
    result = run("--debug", "train", "absent.csv")
    assert isinstance(result.exception, FileNotFoundError)


def test_missing_extra_is_named_by_the_installed_command() -> None:
    code = "import sys\nsys.modules['typer'] = None\nfrom ladnet_fast.cli import main\nmain()\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "typer is needed to run ladnet-fast" in done.stderr
    assert "pip install 'ladnet-fast[tools]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [("doctor",), ("score", "x", "--model", "y"), ("train", "x")])
def test_a_wrong_environment_is_told_in_one_line(command: tuple[str, ...]) -> None:
    """Modules that a command imports late may refuse to be imported."""
    done = subprocess.run(
        [sys.executable, "-m", "ladnet_fast.cli", *command],
        env={**os.environ, "LADNET_IMPL": "fastest"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "LADNET_IMPL must be one of" in done.stderr
    assert "Traceback" not in done.stderr
