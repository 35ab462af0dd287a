"""What scoring in bf16 costs is said for every run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import scoring_precision
from ladnet_fast.data import FeatureSource, Video, write_manifest
from ladnet_fast.engine import Config, train


def test_every_run_has_its_row_and_its_precision(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random, videos = np.random.default_rng(0), []
    for i in range(4):
        truth = np.repeat(np.arange(12) % 3 == 0, 4) & (i % 2 == 1)
        np.save(tmp_path / f"v{i}.npy", random.normal(size=(12, 6)).astype(np.float32))
        np.save(tmp_path / f"v{i}_gt.npy", truth)
        videos.append(
            Video(
                f"v{i}", (FeatureSource(tmp_path / f"v{i}.npy"),), i % 2, num_frames=48,
                frames_per_snippet=4, frame_labels=tmp_path / f"v{i}_gt.npy",
            )
        )  # fmt: skip
    write_manifest(tmp_path / "videos.csv", videos)
    runs = []
    for name in ("no", "bf16"):
        training = {"epochs": 1, "validation": 0, "device": "cpu", "mixed_precision": name}
        sizes = {"hidden_dim": 8, "mlp_dims": [8, 4]}
        config = Config().replace(model=sizes, training=training)
        runs.append(str(train(config, videos, run_dir=tmp_path / name).run_dir))
    scoring_precision.main([str(tmp_path / "videos.csv"), *runs, "--time"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("; 4 videos")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[3:5]]
    assert [row[:2] for row in rows] == [["no", "fp32"], ["bf16", "bf16"]]
    for row in rows:
        assert 0 < float(row[3]) < 0.02
        assert row[-1].startswith("48 / ")
    assert float(lines[5].rpartition(" ")[2]) > 0
