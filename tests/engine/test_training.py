"""Training: what it learns, chooses, writes and refuses."""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ladnet_fast import LANet
from ladnet_fast.data import Video
from ladnet_fast.engine import (
    CheckpointError,
    Config,
    ConfigError,
    EpochRecord,
    Plan,
    Reporter,
    StepRecord,
    load_checkpoint,
    load_config,
    load_model,
    score_video,
    train,
)
from ladnet_fast.engine.run import learning_rate

MakeVideos = Callable[..., list[Video]]


class Recorder(Reporter):
    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self.steps: list[StepRecord] = []
        self.epochs: list[EpochRecord] = []
        self.closed = 0

    def start(self, plan: Plan) -> None:
        self.plans.append(plan)

    def step(self, record: StepRecord) -> None:
        self.steps.append(record)

    def epoch(self, record: EpochRecord) -> None:
        self.epochs.append(record)

    def close(self) -> None:
        self.closed += 1


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    return dict(load_model(run_dir).state_dict())


def test_network_learns_which_videos_are_anomalous(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    config = config.replace(training={"epochs": 40, "batch_size": 8, "lr": 1e-2})
    result = train(config, make_videos(), run_dir=tmp_path / "run")
    assert result.history[-1].mil < 0.5 * result.history[0].mil
    assert not result.model.training
    assert result.seconds > 0


def test_run_folder_has_what_it_takes_to_repeat_the_run(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    result = train(
        config, make_videos(), run_dir=tmp_path / "run", command=["x"], source={"videos": "v.csv"}
    )
    names = {path.name for path in result.run_dir.iterdir()}
    assert names == {
        "config.yaml", "run.json", "history.json", "model.safetensors", "checkpoint.safetensors",
        ".ladnet",
    }  # fmt: skip
    assert load_config(result.run_dir / "config.yaml") == config.replace(model={"feature_dim": 12})
    run = json.loads((result.run_dir / "run.json").read_text())
    assert run["seed"] == 0
    assert run["command"] == ["x"]
    assert run["data"] == {"videos": "v.csv"}
    history = json.loads((result.run_dir / "history.json").read_text())
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3]


def test_same_seed_gives_the_same_bits_and_another_seed_does_not(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    videos = make_videos(crops=2)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(hash(name) % 1000)  # the caller's state must not matter
        train(config.replace(training={"seed": seed}), videos, run_dir=tmp_path / name)
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["attention.q.weight"], c["attention.q.weight"])


def test_training_leaves_the_callers_random_state_and_prints_nothing(
    make_videos: MakeVideos, config: Config, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(config, make_videos(), run_dir=tmp_path / "run")
    assert torch.equal(before, torch.get_rng_state())
    assert capfd.readouterr() == ("", "")


def test_reporter_hears_every_step_and_epoch(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    recorder = Recorder()
    result = train(config, make_videos(), run_dir=tmp_path / "run", reporter=recorder)
    (plan,) = recorder.plans
    assert (plan.epochs, plan.steps_per_epoch, plan.bags, plan.first_epoch) == (3, 3, 8, 1)
    assert plan.parameters == sum(p.numel() for p in result.model.parameters())
    assert [record.global_step for record in recorder.steps] == list(range(1, 10))
    assert [(r.epoch, r.step) for r in recorder.steps[:4]] == [(1, 1), (1, 2), (1, 3), (2, 1)]
    assert tuple(recorder.epochs) == result.history
    loss = config.loss
    for step in recorder.steps:
        total = (
            step.mil + loss.ranking_weight * step.ranking + loss.alignment_weight * step.alignment
        )
        assert step.total == pytest.approx(total, rel=1e-5)
    mean = np.mean([step.total for step in recorder.steps[:3]])
    assert recorder.epochs[0].total == pytest.approx(mean)
    assert recorder.epochs[0].sigma == pytest.approx((8.0,), abs=0.5)
    assert recorder.closed == 1


def test_learning_rate_is_that_of_torchs_cosine_annealing() -> None:
    config = Config().training
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=config.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.t_max)
    for epoch in range(config.epochs):
        assert learning_rate(config, epoch) == pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        schedule.step()
    constant = dataclasses.replace(config, schedule="constant")
    assert {learning_rate(constant, epoch) for epoch in range(50)} == {config.lr}


def test_accumulated_parts_give_the_step_of_the_whole_batch(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    # MIL is a mean over bags, so equal parts add up; the last batch of 2 has fewer parts.
    plain = config.replace(
        model={"dropout": 0.0}, loss={"ddl": False}, training={"batch_size": 6, "epochs": 2}
    )
    videos = make_videos(8)
    train(plain, videos, run_dir=tmp_path / "whole")
    train(plain.replace(training={"accumulate": 3}), videos, run_dir=tmp_path / "parts")
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    start = plain.replace(model={"feature_dim": 12}).model.build().state_dict()
    for name in whole.keys() - {"attention.k.bias"}:  # its gradient is rounding: softmax ignores it
        torch.testing.assert_close(parts[name], whole[name], rtol=2e-3, atol=2e-4)
    assert not torch.allclose(start["mlp.0.weight"], whole["mlp.0.weight"], atol=1e-3)


def test_gradient_clipping_bounds_a_step(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    videos = make_videos()
    train(config, videos, run_dir=tmp_path / "free")
    train(config.replace(training={"clip_norm": 1e-9}), videos, run_dir=tmp_path / "clipped")
    free, clipped = weights(tmp_path / "free"), weights(tmp_path / "clipped")
    # Adam divides by the gradient's size, up to its eps of 1e-8.
    assert (free["mlp.0.weight"] - clipped["mlp.0.weight"]).abs().max() > 1e-3


def test_queries_are_fed_to_the_network_unless_switched_off(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    videos = make_videos(query_dim=5)
    assert train(config, videos, run_dir=tmp_path / "a").model.query_dim == 5
    off = config.replace(training={"use_queries": False})
    assert train(off, videos, run_dir=tmp_path / "b").model.query_dim is None


@pytest.mark.parametrize("options", [{"balanced": True}, {"sampling": "bins"}, {"crops": "first"}])
def test_other_ways_to_sample_work(
    make_videos: MakeVideos, config: Config, tmp_path: Path, options: dict[str, object]
) -> None:
    result = train(config.replace(training=options), make_videos(crops=2), run_dir=tmp_path / "run")
    assert math.isfinite(result.history[-1].total)


def test_mixed_precision_trains_in_bf16(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    videos = make_videos()
    half = train(
        config.replace(training={"mixed_precision": "bf16"}), videos, run_dir=tmp_path / "half"
    )
    full = train(config, videos, run_dir=tmp_path / "full")
    assert half.history[-1].total == pytest.approx(full.history[-1].total, rel=0.1)
    assert half.history[-1].total != full.history[-1].total
    assert all(p.dtype == torch.float32 for p in half.model.parameters())
    saved = load_checkpoint(tmp_path / "half" / "checkpoint.safetensors").progress["config"]
    assert saved["training"]["mixed_precision"] == "bf16"
    with pytest.raises(CheckpointError, match=r"training\.mixed_precision: 'bf16' then, 'no' now"):
        train(config, videos, run_dir=tmp_path / "half", resume=True)


def test_held_out_videos_are_scored_in_the_precision_of_training(
    make_videos: MakeVideos, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, np.ndarray] = {}

    def noted(model: LANet, video: Video, **options: Any) -> np.ndarray:
        found[video.name] = score_video(model, video, **options)
        return found[video.name]

    monkeypatch.setattr("ladnet_fast.engine.run.score_video", noted)
    training = {"mixed_precision": "bf16", "validation": 0.5, "validate_every": 3}
    videos = make_videos(8)
    model = train(config.replace(training=training), videos, run_dir=tmp_path / "run").model
    held_out = [video for video in videos if video.name in found]
    assert len(held_out) == 4
    for video in held_out:
        assert np.array_equal(found[video.name], score_video(model, video, precision="bf16"))
        assert not np.array_equal(found[video.name], score_video(model, video))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": {"feature_dim": 7}}, "feature_dim = 7.*width 12"),
        ({"model": {"query_dim": 7}}, "query_dim = 7.*none"),
        ({"training": {"select_on_test": True}}, "needs test videos"),
        ({"training": {"batch_size": 2, "accumulate": 2, "balanced": True}}, None),
        ({"training": {"device": "cuda"}}, "sees no CUDA device"),
    ],
)
def test_configuration_that_does_not_fit_is_refused(
    make_videos: MakeVideos,
    config: Config,
    tmp_path: Path,
    options: dict[str, dict[str, object]],
    message: str | None,
) -> None:
    if message is None:
        train(config.replace(**options), make_videos(), run_dir=tmp_path / "run")
        return
    if options.get("training", {}).get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(ConfigError, match=message):
        train(config.replace(**options), make_videos(), run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_one_class_alone_is_refused(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    normal = [video for video in make_videos() if video.label == 0]
    with pytest.raises(ValueError, match=r"label 0.*both classes"):
        train(config, normal, run_dir=tmp_path / "run")


def test_folder_with_a_run_is_refused(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    train(config, make_videos(), run_dir=tmp_path / "run")
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match="already holds a training run"):
        train(config, make_videos(), run_dir=tmp_path / "run")
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before
