"""A small data set on which a small network learns within seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ladnet_fast.data import FeatureSource, Video
from ladnet_fast.engine import Config

DIM = 12


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def make_videos(tmp_path: Path) -> Callable[..., list[Video]]:
    """Write videos, every second one anomalous: features shifted in a third of its snippets."""

    def make(
        count: int = 8, *, crops: int = 1, truth: bool = True, query_dim: int = 0, first: int = 0
    ) -> list[Video]:
        folder = tmp_path / "features"
        folder.mkdir(exist_ok=True)
        videos = []
        for i in range(first, first + count):
            rng = np.random.default_rng(i)
            length = 9 + 3 * (i % 4)
            anomalous = np.zeros(length, bool)
            if i % 2:
                anomalous[length // 3 : 2 * length // 3] = True
            sources = []
            for crop in range(crops):
                features = rng.normal(size=(length, DIM)).astype(np.float32)
                features[anomalous] += 2
                sources.append(FeatureSource(folder / f"v{i}__{crop}.npy"))
                np.save(sources[-1].path, features)
            query = None
            if query_dim:
                query = FeatureSource(folder / f"v{i}__vggish.npy")
                np.save(query.path, rng.normal(size=(length, query_dim)).astype(np.float32))
            labels = None
            if truth:
                labels = folder / f"v{i}_gt.npy"
                np.save(labels, np.repeat(anomalous, 4))
            videos.append(
                Video(
                    f"v{i}",
                    tuple(sources),
                    i % 2,
                    num_frames=4 * length,
                    frames_per_snippet=4,
                    fold=i // 2 % 2,
                    frame_labels=labels,
                    query=query,
                )
            )
        return videos

    return make


@pytest.fixture
def config() -> Config:
    """A network with dropout, and batches that don't divide the number of bags."""
    return Config().replace(
        model={"hidden_dim": 8, "mlp_dims": [16, 8], "kernel_size": 3, "dropout": 0.2},
        training={"epochs": 3, "batch_size": 3, "lr": 5e-3, "validation": 0, "device": "cpu"},
    )
