"""Two processes train one network on their shares of every batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ladnet_fast.data import Video, write_manifest
from ladnet_fast.engine import Config, load_model, save_config, train

# MIL alone without dropout: only then is the mean over processes the loss of the whole batch.
PLAIN = {
    "model": {"dropout": 0.0, "hidden_dim": 8, "mlp_dims": [16, 8]},
    "loss": {"ddl": False},
    "training": {"epochs": 3, "batch_size": 4, "validation": 0.3, "device": "cpu"},
}


def launch(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
        "-m", "ladnet_fast.cli", *arguments,
    ]  # fmt: skip
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.slow
def test_two_processes_train_as_one(
    make_videos: Callable[..., list[Video]], tmp_path: Path
) -> None:
    videos = make_videos(8)
    config = Config().replace(**PLAIN)
    write_manifest(tmp_path / "v.csv", videos)
    save_config(tmp_path / "c.yaml", config)
    done = launch(
        "train", "v.csv", "--config", "c.yaml", "--out", "two", "--no-tensorboard", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("best on held-out videos") == 1, "the first process alone speaks"
    assert json.loads((tmp_path / "two" / "run.json").read_text())["processes"] == 2
    train(config, videos, run_dir=tmp_path / "one")
    one, two = (load_model(tmp_path / name).state_dict() for name in ("one", "two"))
    for name in one.keys() - {"attention.k.bias"}:  # its gradient is rounding: softmax ignores it
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-4)
