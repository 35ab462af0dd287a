"""A run that was stopped and resumed equals one that was not, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ladnet_fast.data import Video
from ladnet_fast.engine import (
    CheckpointError,
    Config,
    Reporter,
    StepRecord,
    load_checkpoint,
    load_model,
    train,
)

MakeVideos = Callable[..., list[Video]]


class _PowerCutError(Exception):
    pass


class PowerCut(Reporter):
    """Ends the run after a step, before anything about this step is written."""

    def __init__(self, step: int) -> None:
        self._step = step

    def step(self, record: StepRecord) -> None:
        if record.global_step == self._step:
            raise _PowerCutError


def assert_same_run(one: Path, other: Path) -> None:
    a, b = (load_checkpoint(path / "checkpoint.safetensors") for path in (one, other))
    assert a.progress == b.progress
    assert a.optimizer_groups == b.optimizer_groups
    assert all(torch.equal(a.model[name], b.model[name]) for name in a.model)
    for parameter, entries in a.optimizer.items():
        assert all(torch.equal(entries[k], b.optimizer[parameter][k]) for k in entries)
    chosen, other_chosen = (load_model(path).state_dict() for path in (one, other))
    assert all(torch.equal(chosen[name], other_chosen[name]) for name in chosen)
    history, other_history = ((p / "history.json").read_text() for p in (one, other))
    assert history == other_history


@pytest.mark.parametrize("cut", [1, 2, 5, 7])
@pytest.mark.parametrize("validation", [0.0, 0.3])
def test_resumed_run_equals_an_uninterrupted_one(
    make_videos: MakeVideos, config: Config, tmp_path: Path, cut: int, validation: float
) -> None:
    config = config.replace(
        training={"checkpoint_steps": 1, "accumulate": 3, "validation": validation, "epochs": 4}
    )
    videos = make_videos(10, crops=1)
    whole = train(config, videos, run_dir=tmp_path / "whole")
    with pytest.raises(_PowerCutError):
        train(config, videos, run_dir=tmp_path / "cut", reporter=PowerCut(cut))
    resumed = train(config, videos, run_dir=tmp_path / "cut", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    assert (resumed.epoch, resumed.value) == (whole.epoch, whole.value)
    assert resumed.history == whole.history


def test_run_cut_twice_and_lengthened_equals_a_long_one(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    videos = make_videos(crops=2)
    config = config.replace(training={"checkpoint_steps": 2})
    longer = config.replace(training={"epochs": 6})
    train(longer, videos, run_dir=tmp_path / "whole")
    for options, cut in ((config, 3), (config, 9)):
        with pytest.raises(_PowerCutError):
            train(options, videos, run_dir=tmp_path / "cut", resume=True, reporter=PowerCut(cut))
    train(config, videos, run_dir=tmp_path / "cut", resume=True)
    train(longer, videos, run_dir=tmp_path / "cut", resume=True)
    saved = [load_checkpoint(tmp_path / n / "checkpoint.safetensors") for n in ("whole", "cut")]
    assert all(torch.equal(saved[0].model[name], saved[1].model[name]) for name in saved[0].model)


def test_finished_run_resumes_to_itself(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    videos = make_videos()
    first = train(config, videos, run_dir=tmp_path / "run")
    again = train(config, videos, run_dir=tmp_path / "run", resume=True)
    assert again.history == first.history
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert len(run["earlier"]) == 1


def test_other_options_or_videos_are_refused(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    videos = make_videos()
    run = tmp_path / "run"
    train(config, videos, run_dir=run)
    with pytest.raises(CheckpointError, match=r"training\.lr: 0\.005 then, 0\.1 now"):
        train(config.replace(training={"lr": 0.1}), videos, run_dir=run, resume=True)
    with pytest.raises(CheckpointError, match=r"model\.prior: 'additive' then, 'logit' now"):
        train(config.replace(model={"prior": "logit"}), videos, run_dir=run, resume=True)
    with pytest.raises(CheckpointError, match="training or held-out videos"):
        train(config, videos[::-1], run_dir=run, resume=True)
    with pytest.raises(CheckpointError, match=r"3 epochs behind it.*training\.epochs = 2"):
        train(config.replace(training={"epochs": 2}), videos, run_dir=run, resume=True)


def test_a_run_from_before_an_option_was_there_goes_on_with_its_default(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    videos, path = make_videos(), tmp_path / "run" / "checkpoint.safetensors"
    train(config, videos, run_dir=path.parent)
    earlier = load_checkpoint(path)
    del earlier.progress["config"]["training"]["cuda_graph"]
    earlier.save(path)
    longer = config.replace(training={"epochs": 4})
    assert len(train(longer, videos, run_dir=path.parent, resume=True).history) == 4
    del earlier.progress["config"]["training"]["balanced"]
    earlier.save(path)
    other = longer.replace(training={"balanced": True})
    with pytest.raises(CheckpointError, match=r"training\.balanced: False then, True now"):
        train(other, videos, run_dir=path.parent, resume=True)


def test_resume_without_a_checkpoint_starts_afresh(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    videos = make_videos()
    train(config, videos, run_dir=tmp_path / "a")
    train(config, videos, run_dir=tmp_path / "b", resume=True)
    assert_same_run(tmp_path / "a", tmp_path / "b")


def test_checkpoint_by_steps_is_written_at_the_end_of_an_epoch_too(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    config = config.replace(training={"checkpoint_steps": 3, "checkpoint_every": 50})
    with pytest.raises(_PowerCutError):
        train(config, make_videos(), run_dir=tmp_path / "run", reporter=PowerCut(5))
    progress = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").progress
    assert (progress["epochs_done"], progress["steps_done"]) == (1, 0)
