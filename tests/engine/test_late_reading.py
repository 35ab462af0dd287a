"""Losses that are read late: training, records and errors as when they are read at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ladnet_fast.data import Video
from ladnet_fast.engine import (
    Config,
    EpochRecord,
    Reporter,
    StepRecord,
    TrainingDivergedError,
    load_checkpoint,
    train,
)
from ladnet_fast.engine import run as engine_run
from ladnet_fast.engine.late_reading import LAG, LateReading

from .test_resume import assert_same_run

MakeVideos = Callable[..., list[Video]]


class Heard(Reporter):
    """Notes steps and epochs in the order in which they come."""

    def __init__(self) -> None:
        self.records: list[StepRecord | EpochRecord] = []

    def step(self, record: StepRecord) -> None:
        self.records.append(record)

    def epoch(self, record: EpochRecord) -> None:
        self.records.append(record)


@pytest.fixture
def read_late(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that lets training on the CPU read as it does on a GPU."""

    def late(lag: int) -> None:
        monkeypatch.setattr(engine_run, "LateReading", lambda device: LateReading(device, lag))

    return late


def test_numbers_are_looked_at_in_order_and_at_most_so_late() -> None:
    reading, seen = LateReading(torch.device("cpu"), lag=2), []
    for i in range(5):
        reading.add(torch.tensor([float(i)]), seen.append)
        assert seen == [[float(j)] for j in range(i - 1)]
    reading.finish()
    assert seen == [[float(j)] for j in range(5)]


def test_nothing_is_looked_at_behind_a_number_that_is_refused() -> None:
    def refuse(numbers: list[float]) -> None:
        raise ArithmeticError(numbers[0])

    reading, seen = LateReading(torch.device("cpu"), lag=1), []
    reading.add(torch.tensor([1.0]), refuse)
    with pytest.raises(ArithmeticError, match="1"):
        reading.add(torch.tensor([2.0]), seen.append)
    reading.finish()
    assert seen == []


def test_only_the_cpu_reads_at_once() -> None:
    assert LateReading(torch.device("cpu")).lag == 0
    assert LateReading(torch.device("cuda", 0)).lag == LAG > 0


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"accumulate": 3, "validation": 0.3}, id="parts"),
        pytest.param({"checkpoint_steps": 2, "token_budget": 30}, id="packed"),
    ],
)
def test_training_that_reads_late_is_the_same(
    make_videos: MakeVideos,
    config: Config,
    tmp_path: Path,
    read_late: Callable[[int], None],
    options: dict[str, object],
) -> None:
    config, videos = config.replace(training=options), make_videos(10)
    heard = {}
    for lag in (0, 2):
        read_late(lag)
        heard[lag] = Heard()
        train(config, videos, run_dir=tmp_path / f"{lag}", reporter=heard[lag])
    assert heard[0].records == heard[2].records
    assert_same_run(tmp_path / "0", tmp_path / "2")


@pytest.mark.parametrize("cause", ["features", "learning-rate"])
def test_divergence_that_is_read_late_names_the_step_and_the_culprit(
    make_videos: MakeVideos,
    config: Config,
    tmp_path: Path,
    read_late: Callable[[int], None],
    cause: str,
) -> None:
    videos = make_videos(12)
    options: dict[str, object] = {"batch_size": 2, "checkpoint_steps": 1}
    if cause == "features":
        path = videos[3].features[0].path
        np.save(path, np.full_like(np.load(path), 3e38))
    else:
        options["lr"] = 1e36
    config = config.replace(training=options)
    messages = []
    for turn in (0, 3):
        read_late(turn)
        run = tmp_path / f"{turn}"
        with pytest.raises(TrainingDivergedError, match=r"epoch 1, step \d of 6") as error:
            train(config, videos, run_dir=run)
        messages.append(str(error.value).replace(str(run), "RUN"))
        # Checkpoints look at losses and weights first, so that none holds what went wrong.
        saved = run / "checkpoint.safetensors"
        if saved.exists():
            assert all(entry.isfinite().all() for entry in load_checkpoint(saved).model.values())
    assert messages[0] == messages[1]


def test_weights_that_break_later_are_not_blamed_for_a_video(
    make_videos: MakeVideos,
    config: Config,
    tmp_path: Path,
    read_late: Callable[[int], None],
) -> None:
    # No checkpoint before the epoch's end: all steps behind the bad one are done with NaN weights.
    videos = make_videos(12)
    path = videos[3].features[0].path
    np.save(path, np.full_like(np.load(path), 3e38))
    read_late(100)
    with pytest.raises(TrainingDivergedError, match="so are the scores of v3;"):
        train(config.replace(training={"batch_size": 2}), videos, run_dir=tmp_path / "run")
