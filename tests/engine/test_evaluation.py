"""Scores against ground truth, over a test set and over folds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast.data import Video, load_ground_truth, num_snippets
from ladnet_fast.engine import (
    Config,
    GroundTruth,
    cross_validate,
    evaluate_scores,
    load_model,
    read_scores,
    score_video,
)

MakeVideos = Callable[..., list[Video]]


def truth_as_scores(videos: list[Video]) -> dict[str, np.ndarray]:
    lengths = [num_snippets(video) for video in videos]
    truth = load_ground_truth(videos, lengths)
    return {v.name: t[::4].astype(np.float32) for v, t in zip(videos, truth, strict=True)}


def test_truth_itself_scores_perfectly_and_its_opposite_not(make_videos: MakeVideos) -> None:
    videos = make_videos(4)
    scores = truth_as_scores(videos)
    metrics = evaluate_scores(videos, scores)
    assert (metrics.auc, metrics.ap, metrics.video_auc, metrics.far) == (1, 1, 1, 0)
    assert evaluate_scores(videos, {name: 1 - s for name, s in scores.items()}).auc == 0


def test_smoothing_and_threshold_are_applied(make_videos: MakeVideos) -> None:
    videos = make_videos(4)
    scores = truth_as_scores(videos)
    smoothed = evaluate_scores(videos, scores, smoothing=("slide", 5))
    assert smoothed.auc < 1
    assert evaluate_scores(videos, scores, threshold=0.0).far == 1


def test_concatenated_truth_follows_the_order_of_the_videos(
    make_videos: MakeVideos, tmp_path: Path
) -> None:
    videos = make_videos(4)
    lengths = [num_snippets(video) for video in videos]
    np.save(tmp_path / "gt.npy", np.concatenate(load_ground_truth(videos, lengths)))
    source = GroundTruth(tmp_path / "gt.npy")
    assert evaluate_scores(videos, truth_as_scores(videos), ground_truth=source).auc == 1


def test_missing_scores_and_lengths_that_do_not_fit_name_the_video(
    make_videos: MakeVideos,
) -> None:
    videos = make_videos(4)
    scores = truth_as_scores(videos)
    with pytest.raises(ValueError, match="no entry for video 'v2'"):
        evaluate_scores(videos, {n: s for n, s in scores.items() if n != "v2"})
    with pytest.raises(ValueError, match="v2"):
        evaluate_scores(videos, {**scores, "v2": scores["v2"][:-3]})


def test_cross_validation_scores_every_video_by_a_network_that_never_saw_it(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    videos = make_videos(8)
    outcome = cross_validate(config, videos, out_dir=tmp_path / "cv")
    assert set(outcome.folds) == {0, 1}
    assert outcome.scores.keys() == {video.name for video in videos}
    for fold in (0, 1):
        run = tmp_path / "cv" / f"fold{fold}"
        held_out = [video for video in videos if video.fold == fold]
        net = load_model(run)
        for name, scores in read_scores(run / "scores", held_out).items():
            video = next(video for video in held_out if video.name == name)
            assert np.array_equal(scores, score_video(net, video))
            assert np.array_equal(scores, outcome.scores[name])
        assert json.loads((run / "run.json").read_text())["data"]["fold"] == fold
    assert outcome.mean["auc"] == pytest.approx((outcome.folds[0].auc + outcome.folds[1].auc) / 2)
    assert outcome.pooled.num_videos == 8
    assert outcome.pooled.auc == evaluate_scores(videos, outcome.scores).auc
    written = json.loads((tmp_path / "cv" / "cross-validation.json").read_text())
    assert written["mean"] == outcome.mean
    assert written["folds"]["1"]["auc"] == outcome.folds[1].auc

    again = cross_validate(config, videos, out_dir=tmp_path / "cv", resume=True)
    assert again.mean == outcome.mean


def test_one_fold_can_be_chosen_and_an_unknown_one_is_refused(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    videos = make_videos(8)
    outcome = cross_validate(config, videos, out_dir=tmp_path / "cv", folds=[1])
    assert set(outcome.folds) == {1}
    assert outcome.deviation["auc"] == 0
    with pytest.raises(ValueError, match=r"got 7, and the folds are \[0, 1\]"):
        cross_validate(config, videos, out_dir=tmp_path / "other", folds=[0, 7])
    assert not (tmp_path / "other").exists()
