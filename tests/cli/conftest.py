"""The command line in this process, and a small data set with its manifest."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from ladnet_fast.cli.app import app

SMALL = (
    "--set", "model.hidden_dim=8", "--set", "model.mlp_dims=[16, 8]", "--epochs", "2",
    "--batch-size", "4", "--validation", "0", "--device", "cpu",
)  # fmt: skip


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run ``ladnet-fast`` with the given arguments, on a wide terminal."""
    monkeypatch.setenv("COLUMNS", "200")
    torch.set_num_threads(1)

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return call


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Eight videos in two folds and two splits, every second one anomalous."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(8):
        features = rng.normal(size=(10, 6)).astype(np.float32)
        truth = np.zeros(40, np.uint8)
        if i % 2:
            features[4:7] += 2
            truth[16:28] = 1
        np.save(tmp_path / f"v{i}.npy", features)
        np.save(tmp_path / f"gt{i}.npy", truth)
        rows.append([f"v{i}", f"v{i}.npy", i % 2, 40, 4, i // 2 % 2, f"gt{i}.npy"])
    path = tmp_path / "videos.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        header = "video,features,label,num_frames,frames_per_snippet,fold,frame_labels"
        writer.writerow(header.split(","))
        writer.writerows(rows)
    return path


@pytest.fixture
def split_manifest(manifest: Path) -> Path:
    """The same with a column split: six videos train, two test."""
    lines = manifest.read_text().splitlines()
    splits = ["split", *["train"] * 6, *["test"] * 2]
    path = manifest.with_name("splits.csv")
    path.write_text("\n".join(f"{a},{b}" for a, b in zip(lines, splits, strict=True)) + "\n")
    return path


@pytest.fixture
def trained(run: Callable[..., Result], manifest: Path, tmp_path: Path) -> Path:
    """The folder of a finished run."""
    result = run("train", manifest, "--out", tmp_path / "run", "--no-tensorboard", *SMALL)
    assert result.exit_code == 0, result.output
    return tmp_path / "run"
