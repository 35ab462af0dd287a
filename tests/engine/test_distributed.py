"""Two processes train one network on their shares of every batch."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ladnet_fast.data import Video, write_manifest
from ladnet_fast.engine import (
    Config,
    ConfigError,
    load_checkpoint,
    load_model,
    save_config,
    train,
)
from ladnet_fast.engine.process import make_accelerator

# MIL alone without dropout: only then is the mean over processes the loss of the whole batch.
PLAIN = {
    "model": {"dropout": 0.0, "hidden_dim": 8, "mlp_dims": [16, 8]},
    "loss": {"ddl": False},
    "training": {"epochs": 3, "batch_size": 4, "validation": 0.3, "device": "cpu"},
}


ROOT = Path(__file__).parents[2]


def documented_command() -> list[str]:
    """Return the command for several processes as docs/training.md prints it."""
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^torchrun .*$", text, re.MULTILINE)
    return shlex.split(line)


# Notes what the second process writes below the current folder.
WATCH = """
import os, sys
if os.environ.get("RANK") == "1":
    here, log = os.getcwd(), os.environ["WRITTEN"]
    inside = False
    def hook(event, arguments):
        global inside
        if inside or event not in ("open", "os.rename", "os.mkdir"):
            return
        if event == "open":
            path, mode, flags = arguments
            if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        path = os.path.abspath(os.fsdecode(arguments[0])) if isinstance(
            arguments[0], (str, bytes, os.PathLike)) else ""
        if path.startswith(here + os.sep):
            inside = True
            with open(log, "a") as file:
                file.write(f"{event} {path}\\n")
            inside = False
    sys.addaudithook(hook)
"""


def launch(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command on a machine without a GPU, with nothing that would help accelerate."""
    (cwd / "watch").mkdir(exist_ok=True)
    (cwd / "watch" / "sitecustomize.py").write_text(WATCH)
    env = {k: v for k, v in os.environ.items() if not k.startswith("ACCELERATE_")}
    path = [str(cwd / "watch"), str(ROOT), env.get("PYTHONPATH", "")]
    return subprocess.run(
        command,
        cwd=cwd,
        env={
            **env, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), env["PATH"]]),
            "PYTHONPATH": os.pathsep.join(filter(None, path)), "WRITTEN": str(cwd / "written"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )  # fmt: skip


def entries(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_documented_command_shares_one_training_between_two_processes(
    make_videos: Callable[..., list[Video]], tmp_path: Path
) -> None:
    videos = make_videos(8)
    config = Config().replace(**PLAIN)
    # As a user has it: the device is not named.
    shared = config.replace(training={"device": "auto"})
    write_manifest(tmp_path / "train.csv", videos)
    save_config(tmp_path / "c.yaml", shared)
    command = documented_command()
    assert command[0] == "torchrun"
    done = launch([*command, "--config", "c.yaml"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("best on held-out videos") == 1, "the first process alone speaks"
    assert entries(tmp_path / "runs") == {"two"}
    two = tmp_path / "runs" / "two"
    assert len(list((two / "tensorboard").iterdir())) == 1
    assert not list(two.rglob("*.part"))
    assert not (tmp_path / "written").exists(), "the second process wrote files"
    assert json.loads((two / "run.json").read_text())["processes"] == 2

    train(config, videos, run_dir=tmp_path / "one")
    steps = [
        load_checkpoint(run / "checkpoint.safetensors").progress["global_step"]
        for run in (tmp_path / "one", two)
    ]
    assert steps[0] == steps[1]
    one, other = (load_model(run).state_dict() for run in (tmp_path / "one", two))
    for name in one.keys() - {"attention.k.bias"}:  # its gradient is rounding: softmax ignores it
        torch.testing.assert_close(other[name], one[name], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_two_processes_agree_on_the_folder_and_stop_together(
    make_videos: Callable[..., list[Video]], tmp_path: Path
) -> None:
    """Without --out the folder is named after the time, which may differ between processes."""
    write_manifest(tmp_path / "train.csv", make_videos(8))
    save_config(tmp_path / "c.yaml", Config().replace(**PLAIN))
    command = [word for word in documented_command() if word not in ("--out", "runs/two")]
    options = ["--config", "c.yaml", "--folds", "all", "--epochs", "1", "--no-tensorboard"]
    done = launch([*command, *options], tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert {"fold0", "fold1", "cross-validation.json"} <= entries(folder)
    again = launch([*command, *options, "--out", str(folder)], tmp_path)
    assert again.returncode != 0
    assert again.stderr.count("already holds a training run") == 1
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize("name", ["WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"])
def test_processes_that_cannot_share_are_refused(
    config: Config, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    class Alone:
        num_processes = 1

    monkeypatch.setattr("accelerate.Accelerator", lambda **_: Alone())
    monkeypatch.setenv(name, "3")
    with pytest.raises(ConfigError, match=r"3 processes were started, but 1 of them share"):
        make_accelerator(config.training)


def test_more_processes_than_gpus_are_refused(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    shared = dataclasses.replace(config.training, device="auto")
    with pytest.raises(ConfigError, match=r"2 processes were started on a machine with 1 GPU"):
        make_accelerator(shared)


# A training that says when it has begun, and waits in its first step until it is told to end.
HOLDER = """
import sys
import torch
from ladnet_fast.data import read_manifest
from ladnet_fast.engine import Reporter, load_config, train

class Waits(Reporter):
    def step(self, record):
        print("begun", flush=True)
        sys.stdin.readline()

torch.set_num_threads(1)
train(load_config("c.yaml"), read_manifest("train.csv"), run_dir="run", reporter=Waits())
"""


@pytest.mark.slow
def test_second_training_into_one_folder_is_refused(
    make_videos: Callable[..., list[Video]], tmp_path: Path
) -> None:
    write_manifest(tmp_path / "train.csv", make_videos(8))
    save_config(tmp_path / "c.yaml", Config().replace(**PLAIN))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    common = {"cwd": tmp_path, "env": env, "text": True}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **common
    ) as first:
        assert first.stdin
        assert first.stdout
        assert first.stdout.readline() == "begun\n"
        before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
        command = [sys.executable, "-m", "ladnet_fast.cli", "train", "train.csv", "--out", "run"]
        second = subprocess.run(
            [*command, "--config", "c.yaml", "--resume"], capture_output=True, check=False, **common
        )
        assert second.returncode == 1, second.stderr
        assert "run is in use: another process is training there" in second.stderr
        assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == before
        first.kill()
    resumed = subprocess.run([*command, "--config", "c.yaml", "--resume"], check=False, **common)
    assert resumed.returncode == 0, "a killed process holds no folder"
