"""A loss that is NaN stops training, says why, and leaves the last good state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ladnet_fast import DDLTerms, LANet
from ladnet_fast.data import BagDataset, Video
from ladnet_fast.engine import Config, TrainingDivergedError, load_checkpoint, load_model, train
from ladnet_fast.engine.divergence import broken_weights, diagnose

MakeVideos = Callable[..., list[Video]]


def test_video_with_huge_features_is_named(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    videos = make_videos()
    path = videos[3].features[0].path
    np.save(path, np.full_like(np.load(path), 3e38))
    with pytest.raises(TrainingDivergedError, match=r"epoch 1, step \d of 3.*scores of v3"):
        train(config, videos, run_dir=tmp_path / "run")


def test_too_large_a_step_is_caught_and_the_last_good_state_is_kept(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    videos = make_videos()
    run = tmp_path / "run"
    train(config, videos, run_dir=run)
    good = load_checkpoint(run / "checkpoint.safetensors")
    # The same run, but its features have meanwhile become too large for float32.
    for video in videos:
        np.save(video.features[0].path, np.full_like(np.load(video.features[0].path), 3e38))
    longer = config.replace(training={"epochs": 5})
    with pytest.raises(TrainingDivergedError, match=r"epoch 4.*last good state is kept in .*run"):
        train(longer, videos, run_dir=run, resume=True)
    kept = load_checkpoint(run / "checkpoint.safetensors")
    assert kept.progress == good.progress
    assert all(entry.isfinite().all() for entry in load_model(run).state_dict().values())


def test_steps_that_throw_the_weights_away_are_caught(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    config = config.replace(training={"lr": 1e36, "batch_size": 8})
    with pytest.raises(TrainingDivergedError, match=r"epoch 2, step 1 of 1.*Lower training\.lr"):
        train(config, make_videos(), run_dir=tmp_path / "run")


def test_weights_that_are_not_finite_are_the_culprit_before_any_video(
    make_videos: MakeVideos,
) -> None:
    dataset = BagDataset(make_videos(2))
    net = LANet(feature_dim=12, hidden_dim=8, mlp_dims=(8, 4))
    with torch.no_grad():
        net.norm.weight[3] = float("nan")
        net.classifier.bias.fill_(float("inf"))
    assert broken_weights(net) == "norm.weight, classifier.bias"
    nan, one = torch.tensor(float("nan")), torch.tensor(1.0)
    scores = torch.full((2, 4), float("nan"))
    message = diagnose(DDLTerms(nan, nan, one, one), scores, [0, 1], net, dataset)
    assert "(mil)" in message
    assert "norm.weight, classifier.bias" in message
    assert "v1" not in message
