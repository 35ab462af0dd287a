"""Which epoch's weights are kept."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ladnet_fast.data import Video, train_validation_split
from ladnet_fast.engine import (
    Config,
    GroundTruth,
    evaluate_scores,
    load_checkpoint,
    load_model,
    score_videos,
    train,
)

MakeVideos = Callable[..., list[Video]]


def test_last_epoch_is_kept_without_validation(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    result = train(config, make_videos(), run_dir=tmp_path / "run")
    assert (result.epoch, result.selected_by, result.metric) == (3, "last", None)
    last = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").model
    kept = load_model(tmp_path / "run").state_dict()
    assert all(torch.equal(last[name], kept[name]) for name in kept)


def test_best_epoch_on_held_out_videos_is_kept(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    config = config.replace(training={"validation": 0.4, "epochs": 8})
    videos = make_videos(12)
    result = train(config, videos, run_dir=tmp_path / "run")
    assert (result.selected_by, result.metric) == ("validation", "auc")
    values = [record.metrics["auc"] for record in result.history]
    assert result.value == max(values)
    assert result.epoch == max(e for e, value in enumerate(values, 1) if value == max(values))
    # The kept weights have the figure that chose them.
    _, held_out = train_validation_split(videos, fraction=0.4, seed=0)
    metrics = evaluate_scores(held_out, score_videos(result.model, held_out))
    assert metrics.auc == result.value


def test_bag_labels_choose_where_there_is_no_frame_level_truth(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    config = config.replace(training={"validation": 0.4})
    result = train(config, make_videos(truth=False), run_dir=tmp_path / "run")
    assert result.metric == "snippet_auc"
    assert set(result.history[0].metrics) == {"snippet_auc", "video_auc"}
    assert result.value == max(record.metrics["snippet_auc"] for record in result.history)


def test_validate_every_skips_epochs_but_never_the_last(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    config = config.replace(training={"validation": 0.4, "validate_every": 3, "epochs": 5})
    result = train(config, make_videos(), run_dir=tmp_path / "run")
    validated = [record.epoch for record in result.history if record.metrics]
    assert validated == [3, 5]


def test_choosing_on_the_test_set_is_explicit_and_warns(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    videos, test = make_videos(8), make_videos(4, first=8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unseen = train(config, videos, run_dir=tmp_path / "a", test_videos=test)
    assert unseen.selected_by == "last"
    chosen = config.replace(training={"select_on_test": True})
    with pytest.warns(UserWarning, match="chosen on the test videos"):
        result = train(
            chosen, videos, run_dir=tmp_path / "b",
            test_videos=test, test_ground_truth=GroundTruth(),
        )  # fmt: skip
    assert result.selected_by == "test"
    assert result.value == max(record.metrics["auc"] for record in result.history)


@pytest.mark.parametrize(
    ("metric", "message"), [("auc", "needs frame-level truth"), ("ap", "use metric=video_auc")]
)
def test_figure_without_truth_is_refused_before_training(
    make_videos: MakeVideos, config: Config, tmp_path: Path, metric: str, message: str
) -> None:
    config = config.replace(training={"validation": 0.4, "metric": metric})
    with pytest.raises(ValueError, match=message):
        train(config, make_videos(truth=False), run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_test_videos_of_one_class_are_refused(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    test = [dataclasses.replace(v, frame_labels=None) for v in make_videos(4) if v.label == 0]
    for metric, message in (("auc", "no anomalous frame"), ("video_auc", "all have label 0")):
        chosen = config.replace(training={"select_on_test": True, "metric": metric})
        with (
            pytest.warns(UserWarning, match="optimistic"),
            pytest.raises(ValueError, match=message),
        ):
            train(chosen, make_videos(), run_dir=tmp_path / "run", test_videos=test)
