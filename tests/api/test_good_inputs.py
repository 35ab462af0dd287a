"""What plain arguments may be beside Python's own: NumPy's numbers, text for paths, huge counts."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from ladnet_fast import data, engine, metrics
from ladnet_fast.video import frames

VIDEO = data.Video("v", (data.FeatureSource(Path("v.npy")),), 0, num_frames=33)
SCORES = np.linspace(0, 1, 7)
INTEGERS = [np.int64, np.int8, np.uint16, int]


@pytest.mark.parametrize("kind", INTEGERS)
def test_a_video_holds_pythons_numbers_whoever_gave_them(kind):
    video = data.Video(
        "v", VIDEO.features, kind(1), num_frames=kind(33), frames_per_snippet=kind(8), fold=kind(2)
    )
    plain = data.Video("v", VIDEO.features, 1, num_frames=33, frames_per_snippet=8, fold=2)
    assert video == plain
    numbers = [video.label, video.num_frames, video.frames_per_snippet, video.fold]
    assert json.dumps(numbers) == "[1, 33, 8, 2]"


@pytest.mark.parametrize("label", [True, np.True_, 1.0, np.float32(1), np.uint8(1)])
def test_a_label_that_is_one_is_the_integer(label):
    assert dataclasses.replace(VIDEO, label=label).label is 1  # noqa: F632 - the type counts


def test_text_may_stand_for_the_paths_of_a_video():
    source = data.FeatureSource("a/x.npy")
    assert source == data.FeatureSource(Path("a/x.npy"))
    assert source.path.suffix == ".npy"
    assert dataclasses.replace(VIDEO, frame_labels="gt.npy").frame_labels == Path("gt.npy")


@pytest.mark.parametrize("kind", INTEGERS)
def test_numpys_integers_are_counts(kind):
    np.testing.assert_array_equal(
        metrics.frame_scores(SCORES, kind(3), kind(20)), metrics.frame_scores(SCORES, 3, 20)
    )
    np.testing.assert_array_equal(
        metrics.smooth(SCORES, "slide", kind(3)), metrics.smooth(SCORES, "slide", 3)
    )
    np.testing.assert_array_equal(
        data.linspace_indices(kind(30), kind(4)), data.linspace_indices(30, 4)
    )
    assert data.ground_truth_length(VIDEO, kind(2), length_rule="snippets") == 32
    given = [data.Interval(kind(1), kind(5), None)]
    truth = data.intervals_to_frames(given, kind(4), boundaries="[s,e)", slack=kind(1))
    assert truth.tolist() == [0, 1, 1, 1]
    assert len(data.EpochSampler(kind(3), seed=kind(1))) == 3
    labels = np.array([0, 1, 1])
    assert len(data.BalancedBatchSampler(labels, kind(2), seed=kind(1))) == 2
    assert frames.short_side_size(kind(20), kind(40), kind(10)) == (10, 20)
    small = frames.resize(np.zeros((4, 6, 3), np.uint8), (kind(2), kind(3)))
    assert small.shape == (2, 3, 3)


def test_seeds_of_samplers_may_be_any_integers():
    for seed in (-3, 10**30, np.int64(-3)):
        assert sorted(data.EpochSampler(5, seed=seed)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "scores",
    [(0, 1), np.array([False, True]), torch.tensor([0, 1]), [Fraction(0), 1], np.float16([0, 1])],
)
def test_scores_may_be_any_vector_of_real_numbers(scores):
    assert metrics.frame_scores(scores, 2).tolist() == [0, 0, 1, 1]


def test_a_threshold_is_kept_as_a_plain_number():
    figures = metrics.evaluate([[0.1, 0.9]], [[0, 1]], [1], threshold=np.float32(0.5))
    assert json.loads(json.dumps(figures.as_dict()))["threshold"] == 0.5


def _whole_windows(scores, k, edge):
    """Smooth with windows of k numbers, however many of them are beyond the last score."""
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([scores, np.zeros(k - 1)]), k)
    exist = np.minimum(np.arange(len(scores)) + k, len(scores)) - np.arange(len(scores))
    return windows.sum(axis=1) / (k if edge == "zero" else exist)


@pytest.mark.parametrize("edge", ["shrink", "zero"])
@pytest.mark.parametrize("length", [1, 2, 7, 8, 63, 64, 127, 129, 200, 513])
def test_windows_beyond_the_last_score_give_the_same_bits_as_whole_ones(length, edge):
    rng = np.random.default_rng(length)
    scores = rng.standard_normal(length) * 10.0 ** rng.integers(-5, 6, length)
    for k in (1, 2, 8, 127, 128, 129, 130, 257, 500, 1000, 1024, 1999, 4096, 7777):
        got = metrics.smooth(scores, "slide", k, edge=edge)
        assert got.tobytes() == _whole_windows(scores, k, edge).tobytes(), k


@pytest.mark.parametrize("k", [10**12, 2**62, 2**63 - 1])
def test_a_window_larger_than_any_memory_is_a_window_over_all_scores(k):
    for kind in ("fixed", "slide"):
        huge, large = (metrics.smooth(SCORES, kind, size) for size in (k, 1000))
        np.testing.assert_allclose(huge, large, rtol=1e-15)
        assert metrics.smooth(SCORES, kind, k, edge="zero").max() < 1e-11


@pytest.mark.parametrize("text", ["5e-4", "1.5e3", "+2E+1", ".5e-2", "3.e2"])
def test_text_of_scientific_notation_is_a_number_since_yaml_takes_it_for_text(text):
    config = engine.Config.from_dict({"model": {"sigma": text}, "training": {"lr": text}})
    assert config.model.sigma == config.training.lr == float(text)
    assert engine.Config().override([f"model.sigma={text}"]).model.sigma == float(text)


@pytest.mark.parametrize("text", ["1", "0.5", "+1", "nan", "inf", "1e5 ", "1_0e5", "0x1p3", ""])
def test_any_other_text_is_no_number(text):
    for make in (lambda: engine.ModelConfig(sigma=text), lambda: engine.LossConfig(margin=text)):
        with pytest.raises(engine.ConfigError, match=r"(sigma|margin) must be a number; got '"):
            make()
