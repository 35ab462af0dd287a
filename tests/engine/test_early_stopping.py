"""Training stops when held-out videos say so, and a stopped run is a whole one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast.data import Video
from ladnet_fast.engine import Config, ConfigError, Reporter, StepRecord, load_checkpoint, train
from ladnet_fast.engine.validation import Validator, snippet_auc

MakeVideos = Callable[..., list[Video]]


class Listener(Reporter):
    """Keeps messages, and ends the run at a step."""

    def __init__(self, cut: int = 0) -> None:
        self.cut, self.messages = cut, list[str]()

    def step(self, record: StepRecord) -> None:
        if record.global_step == self.cut:
            raise KeyboardInterrupt

    def message(self, text: str) -> None:
        self.messages.append(text)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[float]], None]:
    """Let validation give these figures, one per epoch, whatever the network is."""

    def give(values: Sequence[float]) -> None:
        def validated(self: Validator, model: object, scorer: object) -> dict[str, float]:
            epoch = count[0]
            count[0] += 1
            return {self.metric: values[epoch]}

        count = [0]
        monkeypatch.setattr(Validator, "__call__", validated)

    return give


def patient(config: Config, patience: int | None, epochs: int = 8, **training: object) -> Config:
    options = {"validation": 0.4, "patience": patience, "epochs": epochs, **training}
    return config.replace(training=options)


@pytest.mark.parametrize(
    ("values", "patience", "epochs", "kept"),
    [
        ([0.5, 0.6, 0.6, 0.4], 2, 4, 3),  # an equal figure is kept, and is no progress
        ([0.9, 0.1, 0.2, 0.3], 3, 4, 1),  # rising again, but never higher than before
        ([0.5, 0.4, 0.6, 0.5, 0.7, 0.6, 0.6, 0.6], 2, 7, 5),
        ([0.5, 0.4], 1, 2, 1),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], 1, 8, 8),
        ([0.9] + [0.1] * 7, None, 8, 1),
    ],
)
def test_training_ends_after_so_many_validations_without_a_higher_figure(
    make_videos: MakeVideos, config: Config, tmp_path: Path,
    figures: Callable[[Sequence[float]], None],
    values: list[float], patience: int | None, epochs: int, kept: int,
) -> None:  # fmt: skip
    figures(values)
    listener = Listener()
    result = train(
        patient(config, patience), make_videos(), run_dir=tmp_path / "run", reporter=listener
    )
    assert (len(result.history), result.epoch) == (epochs, kept)
    said = [text for text in listener.messages if "stopped early" in text]
    assert len(said) == (epochs < 8)
    assert all(f"after epoch {epochs}" in text and f"epoch {kept} is kept" in text for text in said)


def test_a_run_that_stopped_early_has_written_all_that_it_did(
    make_videos: MakeVideos, config: Config, tmp_path: Path,
    figures: Callable[[Sequence[float]], None],
) -> None:  # fmt: skip
    figures([0.9, 0.1, 0.1])
    chosen = patient(config, 2, checkpoint_every=100)
    train(chosen, make_videos(), run_dir=tmp_path / "run")
    progress = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").progress
    assert (progress["epochs_done"], progress["best"]["epoch"]) == (3, 1)
    assert len(json.loads((tmp_path / "run" / "history.json").read_text())) == 3


def test_resuming_a_run_that_stopped_early_trains_no_further_but_with_more_patience_it_does(
    make_videos: MakeVideos, config: Config, tmp_path: Path,
    figures: Callable[[Sequence[float]], None],
) -> None:  # fmt: skip
    figures([0.9, 0.1, 0.1, 0.95, 0.1, 0.1, 0.1])
    videos, folder = make_videos(), tmp_path / "run"
    first = train(patient(config, 2), videos, run_dir=folder)
    again = train(patient(config, 2), videos, run_dir=folder, resume=True)
    assert first.history == again.history
    assert len(first.history) == 3
    longer = train(patient(config, 3), videos, run_dir=folder, resume=True)
    assert (len(longer.history), longer.epoch) == (7, 4)


@pytest.mark.parametrize("metric", ["snippet_auc", "video_auc", "auc"])
def test_a_run_that_was_cut_and_resumed_stops_where_an_uninterrupted_one_does(
    make_videos: MakeVideos, config: Config, tmp_path: Path, metric: str
) -> None:
    chosen = patient(config, 2, epochs=12, metric=metric, checkpoint_steps=1)
    videos = make_videos(10)
    whole = train(chosen, videos, run_dir=tmp_path / "whole")
    assert len(whole.history) < 12  # or this test says nothing
    with pytest.raises(KeyboardInterrupt):
        train(chosen, videos, run_dir=tmp_path / "cut", reporter=Listener(cut=3))
    resumed = train(chosen, videos, run_dir=tmp_path / "cut", resume=True)
    assert (resumed.history, resumed.epoch) == (whole.history, whole.epoch)


def test_patience_without_held_out_videos_is_refused(config: Config) -> None:
    with pytest.raises(ConfigError, match=r"patience = 3 needs held-out.*training.validation"):
        config.replace(training={"validation": 0, "patience": 3})
    with pytest.raises(ConfigError, match="patience must be at least 1"):
        config.replace(training={"validation": 0.2, "patience": 0})


def test_the_snippet_figure_chooses_by_bag_labels_alone(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    chosen = config.replace(training={"validation": 0.4, "metric": "snippet_auc", "epochs": 5})
    without, with_truth = (
        train(chosen, make_videos(10, truth=truth), run_dir=tmp_path / str(truth))
        for truth in (False, True)
    )
    values = [record.metrics["snippet_auc"] for record in without.history]
    assert without.value == max(values)
    assert without.epoch == with_truth.epoch


def test_every_video_counts_alike_in_the_snippet_figure(make_videos: MakeVideos) -> None:
    videos = make_videos(4)  # labels 0, 1, 0, 1
    scores = {
        "v0": np.zeros(100, np.float32),
        "v1": np.array([1], np.float32),
        "v2": np.full(3, 0.5, np.float32),
        "v3": np.array([0, 0.2], np.float32),
    }
    # v1 is above both normal videos; half of v3 equals v0 and is below v2, half is between them.
    assert snippet_auc(videos, scores) == pytest.approx((1 + 1 + 0.25 + 0.5) / 4)
