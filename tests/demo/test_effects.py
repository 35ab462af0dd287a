from __future__ import annotations

import numpy as np
import pytest

from ladnet_fast.demo.effects import (
    FADE_SNIPPETS,
    KINDS,
    cross_fade,
    disturb,
    fade_truth,
    fade_weights,
    plan_disturbances,
    plan_fades,
)


@pytest.fixture
def snippet() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)


def test_a_fade_rises_evenly_from_the_first_to_the_last_frame() -> None:
    weights = fade_weights()
    assert len(weights) == 16 * FADE_SNIPPETS
    assert 0 < weights[0] < 0.01
    np.testing.assert_allclose(weights + weights[::-1], 1, atol=1e-6)
    np.testing.assert_allclose(np.diff(weights), weights[1] - weights[0], atol=1e-6)


@pytest.mark.parametrize("enters", [True, False])
def test_every_frame_of_a_fade_is_labelled_by_the_foreign_weight(enters: bool) -> None:
    foreign = fade_weights() if enters else 1 - fade_weights()
    np.testing.assert_array_equal(np.repeat(fade_truth(enters=enters), 16), foreign >= 0.5)


def test_a_fade_mixes_pixels() -> None:
    before, after = np.full((32, 2, 2, 3), 200, np.uint8), np.full((32, 2, 2, 3), 100, np.uint8)
    shown = cross_fade(before, after)
    expected = np.rint(200 - 100 * (np.arange(32) + 0.5) / 32)
    np.testing.assert_array_equal(shown[:, 0, 0, 0], expected)
    assert shown.dtype == np.uint8


def test_a_freeze_shows_one_frame(snippet: np.ndarray) -> None:
    shown = disturb(snippet, "freeze")
    assert (shown == shown[0]).all()
    assert any((shown[0] == frame).all() for frame in snippet)


def test_each_other_disturbance_changes_brightness_or_sharpness(snippet: np.ndarray) -> None:
    assert disturb(snippet, "dark").mean() == pytest.approx(0.2 * snippet.mean(), abs=1)
    assert disturb(snippet, "flash").mean() == pytest.approx(
        255 - 0.3 * (255 - snippet.mean()), 0.01
    )
    blurred = disturb(snippet, "blur")
    assert blurred.mean() == pytest.approx(snippet.mean(), abs=1)
    assert blurred.std() < snippet.std() / 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_disturbance_keeps_shape_and_input(snippet: np.ndarray, kind) -> None:
    before = snippet.copy()
    shown = disturb(snippet, kind)
    assert (shown.shape, shown.dtype) == (snippet.shape, np.uint8)
    np.testing.assert_array_equal(snippet, before)


@pytest.mark.parametrize(("count", "takes"), [(0, 3), (4, 8), (9, 4)])
def test_disturbances_are_spread_over_takes_and_kinds(count: int, takes: int) -> None:
    plan = plan_disturbances(count, takes, 0)
    assert plan == plan_disturbances(count, takes, 0)
    times = np.bincount([entry.take for entry in plan], minlength=takes)
    assert len(times) == takes
    assert times.max(initial=0) - times.min(initial=count) <= 1
    assert {entry.kind for entry in plan} == set(KINDS[:count])
    assert all(0 <= entry.position < 4 for entry in plan)


@pytest.mark.parametrize("own", [[2], [2, 5], [0, 1, 3, 4, 6]])
def test_a_fade_within_a_video_leads_to_another_segment_where_there_is_one(own: list[int]) -> None:
    for before, after in plan_fades(12, own, own, 0):
        assert before.segment in own
        assert after.segment in own
        assert (before.segment != after.segment) == (len(own) > 1)


def test_a_fade_between_videos_shows_segments_of_either() -> None:
    plan = plan_fades(6, [2, 5], [0, 1, 2, 3], 0)
    assert {before.segment for before, _ in plan} == {2, 5}
    assert {after.segment for _, after in plan} == {0, 1, 2, 3}
