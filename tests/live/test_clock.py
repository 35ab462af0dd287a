"""Times of frames whose timestamps are missing or jump, and other frame rates."""

from __future__ import annotations

from fractions import Fraction

import pytest

from ladnet_fast.live.clock import Clock, Frame, at_rate


def times(stamps: list[float | None], **options: float) -> list[float]:
    clock = Clock(**options)
    return [round(clock.time_of(stamp), 6) for stamp in stamps]


def test_times_begin_at_the_start_whatever_the_sender_begins_with() -> None:
    assert times([712.0, 712.04, 712.08]) == [0, 0.04, 0.08]
    assert times([712.0, 712.04], start=30.0) == [30.0, 30.04]


@pytest.mark.parametrize("jump", [-700.0, 95_443.7, 11.0], ids=["back", "wrap", "ahead"])
def test_a_jump_of_the_senders_clock_is_one_frame(jump: float) -> None:
    found = times([712.0, 712.04, 712.04 + jump, 712.08 + jump], rate=25.0)
    assert found == [0, 0.04, 0.08, 0.12]


def test_a_pause_is_a_pause() -> None:
    assert times([5.0, 12.0]) == [0, 7.0]


def test_without_timestamps_the_rate_counts() -> None:
    assert times([None, None, None], rate=10.0) == [0, 0.1, 0.2]
    assert times([None, None]) == [0, 0.04]


def frames_at(moments: list[float]) -> list[Frame]:
    return [Frame(i, i, moment) for i, moment in enumerate(moments)]


@pytest.mark.parametrize(
    ("rate", "fps"), [(50, 25), (25, 25), (10, 25), (30, 25), (25, 30), (7, 3)]
)
def test_each_tick_shows_the_frame_that_is_nearest_in_time(rate: int, fps: int) -> None:
    """The earlier of two that are equally near, as when a file is extracted at another rate."""
    found = list(at_rate(iter(frames_at([3 + i / rate for i in range(10)])), fps))
    nearest = [
        min(range(10), key=lambda i: (abs(Fraction(i, rate) - Fraction(k, fps)), i))
        for k in range(len(found))
    ]
    assert [frame.picture for frame in found] == nearest
    assert nearest[-1] == 9 or fps < rate
    assert [frame.number for frame in found] == list(range(len(found)))
    assert [frame.time for frame in found] == pytest.approx(
        [3 + i / fps for i in range(len(found))]
    )


def test_a_rounded_timestamp_moves_no_frame() -> None:
    """Milliseconds, as Matroska has them: 33, 67, 100 ..."""
    rounded = [round(i / 30, 3) for i in range(60)]
    shown = [f.picture for f in at_rate(iter(frames_at(rounded)), 30)]
    assert shown[:60] == list(range(60))
    assert shown[60:] in ([], [59])  # the last one's time on screen is rounded too


def test_no_frames_stay_none() -> None:
    assert list(at_rate(iter([]), 25)) == []
