"""TensorBoard scalars, reporters together, and what run.json says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import ladnet_fast
from ladnet_fast.data import Video
from ladnet_fast.engine import (
    Config,
    Reporter,
    Reporters,
    TensorBoardReporter,
    cross_validate,
    run_info,
    train,
    write_run_info,
)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_tensorboard_has_losses_rate_figures_and_sigma(
    make_videos: Callable[..., list[Video]], config: Config, tmp_path: Path
) -> None:
    config = config.replace(training={"validation": 0.3}, model={"num_heads": 2})
    result = train(config, make_videos(), run_dir=tmp_path / "run", reporter=TensorBoardReporter())
    written = scalars(tmp_path / "run" / "tensorboard")
    steps = len(written["loss/total"])
    assert {"loss/mil", "loss/ranking", "loss/alignment", "lr"} <= written.keys()
    assert [step for step, _ in written["lr"]] == list(range(1, steps + 1))
    assert len(written["validation/auc"]) == len(written["prior/sigma_1"]) == 3
    assert written["validation/auc"][-1] == (
        steps, pytest.approx(result.history[-1].metrics["auc"], rel=1e-6),
    )  # fmt: skip


def test_every_fold_has_scalars_of_its_own(
    make_videos: Callable[..., list[Video]], config: Config, tmp_path: Path
) -> None:
    reporter = Reporters(TensorBoardReporter(), Reporter())
    cross_validate(config, make_videos(), out_dir=tmp_path, reporter=reporter)
    for fold in (0, 1):
        assert len(scalars(tmp_path / f"fold{fold}" / "tensorboard")["prior/sigma_0"]) == 3


def test_run_info_names_versions_command_and_seed() -> None:
    info = run_info(command=["ladnet-fast", "train"], seed=3, extra={"data": {"split": "train"}})
    assert info["versions"]["ladnet_fast"] == ladnet_fast.__version__
    assert info["versions"]["torch"] == torch.__version__
    assert (info["command"], info["seed"]) == (["ladnet-fast", "train"], 3)
    assert info["data"] == {"split": "train"}
    assert json.loads(json.dumps(info)) == info


def test_run_info_keeps_what_the_file_said_before(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        path = write_run_info(tmp_path, seed=seed)
    run = json.loads(path.read_text())
    assert run["seed"] == 3
    assert [earlier["seed"] for earlier in run["earlier"]] == [1, 2]
    path.write_text("{")
    with pytest.raises(ValueError, match=r"run\.json is not JSON"):
        write_run_info(tmp_path)
