"""Figures, intervals and tests of the accuracy benchmark."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.accuracy import statistics
from benchmarks.accuracy.datasets import Truth
from benchmarks.accuracy.figures import (
    CRITERIA,
    Curves,
    bag_criteria,
    best_epoch,
    rank_auc,
    test_figures,
)
from ladnet_fast.metrics import evaluate, frame_scores

test_figures.__test__ = False  # a function of the benchmark, no test


def problem(seed=0, videos=9, levels=None):
    """Scores, truth by snippet, and both by frame and video for the package's own figures."""
    rng = np.random.default_rng(seed)
    labels = np.arange(videos) % 2
    lengths = rng.integers(5, 40, size=videos)
    scores, frames, anomalous, normal = [], [], [], []
    for label, length in zip(labels, lengths, strict=True):
        own = rng.random(length)
        scores.append(own if levels is None else np.round(own * levels) / levels)
        gt = (rng.random(length * 16) < 0.3) & bool(label)
        frames.append(gt.astype(np.uint8))
        anomalous.append(gt.reshape(length, 16).sum(1))
        normal.append(16 - anomalous[-1])
    truth = Truth(
        np.concatenate(anomalous).astype(float),
        np.concatenate(normal).astype(float),
        np.repeat(np.arange(videos), lengths),
        labels,
    )
    return np.concatenate(scores), truth, scores, frames


@pytest.mark.parametrize("levels", [None, 20, 3, 1])
def test_figures_by_snippet_are_those_over_frames(levels):
    scores, truth, by_video, frames = problem(levels=levels)
    found = test_figures(scores, truth)
    expected = evaluate([frame_scores(s, 16) for s in by_video], frames, truth.labels.tolist())
    for name, value in found.items():
        assert value == pytest.approx(getattr(expected, name), abs=1e-12), name


@pytest.mark.parametrize("levels", [None, 4])
def test_a_weight_counts_a_video_so_often(levels):
    scores, truth, by_video, frames = problem(levels=levels)
    weights = np.array([2, 0, 1, 3, 0, 1, 1, 2, 0])
    auc, ap = Curves(scores, truth).areas(weights[None].astype(float))
    chosen = np.repeat(np.arange(9), weights)
    expected = evaluate(
        [frame_scores(by_video[i], 16) for i in chosen],
        [frames[i] for i in chosen],
        truth.labels[chosen].tolist(),
    )
    assert auc[0] == pytest.approx(expected.auc, abs=1e-12)
    assert ap[0] == pytest.approx(expected.ap, abs=1e-12)


def test_one_class_has_no_area():
    assert np.isnan(rank_auc(np.array([0.1, 0.2]), np.array([1, 1])))


def test_bag_criteria_tell_good_scores_from_bad_ones():
    scores, truth, *_ = problem()
    marked = truth.anomalous > 6
    good = bag_criteria(np.where(marked, 0.9, 0.1), truth.video, truth.labels)
    bad = bag_criteria(np.full(len(scores), 0.4), truth.video, truth.labels)
    for criterion in CRITERIA:
        better = good[criterion.name] - bad[criterion.name]
        assert (better if criterion.larger else -better) > 0, criterion.name


def test_the_later_of_equal_epochs_is_chosen():
    epochs = [{"video_auc": 0.7, "mil": 0.5}, {"video_auc": 0.9, "mil": 0.4}]
    epochs += [{"video_auc": 0.9, "mil": 0.4}, {"video_auc": 0.8, "mil": 0.6}]
    assert best_epoch(epochs, "video_auc") == 2
    assert best_epoch(epochs, "mil") == 2


def test_sign_flip_counts_what_is_as_extreme():
    assert statistics.sign_flip([0.1, 0.2, 0.3, 0.1, 0.2]) == 2 / 32
    assert statistics.sign_flip([0.1, -0.1]) == 1
    assert statistics.sign_flip([0.0, 0.0, 0.0]) == 1
    many = statistics.sign_flip([0.1] * 30)
    assert 0 < many < 0.01
    assert np.isnan(statistics.sign_flip([np.nan, 0.1]))


def test_spearman_is_that_of_the_ranks():
    assert statistics.spearman([1, 2, 3, 4], [10, 20, 40, 80]) == pytest.approx(1)
    assert statistics.spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    # Ranks 1, 2.5, 2.5, 4 against 1 to 4.
    assert statistics.spearman([1, 2, 2, 5], [1, 2, 3, 4]) == pytest.approx(4.5 / np.sqrt(22.5))
    assert np.isnan(statistics.spearman([1, 1], [1, 2]))


def test_draws_keep_the_number_of_videos_of_each_label():
    _, truth, *_ = problem()
    drawn = statistics.draws(truth, 3, 50)
    for label in (0, 1):
        assert (
            drawn.videos[:, truth.labels == label].sum(1) == (truth.labels == label).sum()
        ).all()
    assert drawn.seeds.shape == (50, 3)
    assert set(np.unique(drawn.seeds)) == {0, 1, 2}


def test_an_interval_holds_the_figure_and_narrows_with_equal_videos():
    scores, truth, *_ = problem(videos=40)
    drawn = statistics.draws(truth, 2, 200)
    boot = np.stack([statistics.resampled(scores, truth, drawn)["auc"]] * 2)
    low, high = statistics.interval(boot, drawn)
    assert low < test_figures(scores, truth)["auc"] < high
    assert statistics.interval(boot - boot, drawn) == (0, 0)
