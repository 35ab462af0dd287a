from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ladnet_fast.demo.augment import Take, frame_indices, plan_takes, render

PLAIN = Take(
    segment=0, start=0.0, speed=1.0, mirror=False, scale=1.0, x=0.0, y=0.0, contrast=1.0,
    brightness=0.0,
)  # fmt: skip


@pytest.fixture
def footage() -> np.ndarray:
    return np.random.default_rng(0).integers(60, 190, (40, 32, 48, 3), dtype=np.uint8)


def test_a_plan_depends_on_its_arguments_alone() -> None:
    assert plan_takes(9, 4, seed=3) == plan_takes(9, 4, seed=3)
    assert plan_takes(9, 4, seed=3) != plan_takes(9, 4, seed=4)


@pytest.mark.parametrize(("takes", "pieces"), [(12, 4), (4, 4), (3, 9), (1, 5)])
def test_takes_are_spread_evenly_over_segments(takes: int, pieces: int) -> None:
    counts = np.bincount([take.segment for take in plan_takes(takes, pieces, 0)], minlength=pieces)
    assert len(counts) == pieces
    assert counts.max() - counts.min() <= 1


def test_a_take_plays_its_segment_to_and_fro() -> None:
    shown = frame_indices(PLAIN, 10, 14, 9)
    assert shown.tolist() == [10, 11, 12, 13, 12, 11, 10, 11, 12]


@pytest.mark.parametrize("speed", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("start", [0.0, 0.4, 0.999])
def test_a_take_never_leaves_its_segment_and_never_jumps(speed: float, start: float) -> None:
    take = dataclasses.replace(PLAIN, speed=speed, start=start)
    shown = frame_indices(take, 5, 40, 200)
    assert shown.min() >= 5
    assert shown.max() < 40
    assert np.abs(np.diff(shown)).max() <= 2


def test_an_unchanged_take_shows_the_frames_as_they_are(footage: np.ndarray) -> None:
    shown = render(footage, PLAIN, (3, 40), snippets=1, size=32)
    np.testing.assert_array_equal(shown, footage[3:19, :, :32])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"mirror": True}, lambda frames: frames[:, :, 31::-1]),
        ({"x": 1.0}, lambda frames: frames[:, :, 16:]),
        ({"brightness": 9.0}, lambda frames: frames[:, :, :32] + 9),
        ({"contrast": 1.5}, lambda f: np.rint((f[:, :, :32] - 128.0) * 1.5 + 128).clip(0, 255)),
    ],
    ids=["mirror", "crop", "brightness", "contrast"],
)
def test_each_change_does_what_it_says(footage: np.ndarray, change: dict, expected) -> None:
    shown = render(footage, dataclasses.replace(PLAIN, **change), (0, 40), snippets=1, size=32)
    np.testing.assert_array_equal(shown, expected(footage[:16]))
