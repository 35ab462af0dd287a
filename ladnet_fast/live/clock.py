"""The time of a stream's frames, from timestamps that may be missing, wrap or jump."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from ..video.resample import Timed, require_rate, resample

#: A step between two frames beyond this, or backwards, is a jump of the sender's clock.
MOST_STEP = 10.0
_USUAL_RATE = 25.0
_FINEST = 1_000_000


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame.

    Attributes
    ----------
    picture : av.VideoFrame
        As FFmpeg gave it.
    number : int
        Frames of the video before it, dropped ones included.
    time : float
        Seconds since the video, or the watch of a live source, began.
    """

    picture: Any
    number: int
    time: float


class Clock:
    """Turns timestamps to seconds that begin at ``start`` and only ever grow.

    Parameters
    ----------
    start : float
        Time of the first frame.
    rate : float or None
        Frames per second, for frames without a timestamp and after jumps; None: 25.
    """

    def __init__(self, start: float = 0.0, rate: float | None = None) -> None:
        self._step = 1 / (rate or _USUAL_RATE)
        self._next = start  # where the next frame lies if its timestamp says nothing
        self._origin: float | None = None
        self._last = start

    def time_of(self, timestamp: float | None) -> float:
        """Return the time of the next frame, whose timestamp is in seconds of the sender's."""
        if timestamp is None:
            time = self._next
        else:
            if self._origin is None:
                self._origin = timestamp - self._next
            time = timestamp - self._origin
            if not self._last <= time <= self._last + MOST_STEP:
                self._origin = timestamp - self._next
                time = self._next
        self._last, self._next = time, time + self._step
        return time

    def near(self, timestamp: float | None) -> float:
        """Return the approximate time of a packet's timestamp, without moving the clock."""
        if timestamp is None or self._origin is None:
            return self._next
        time = timestamp - self._origin
        return time if abs(time - self._last) <= MOST_STEP else self._next


def at_rate(frames: Iterator[Frame], fps: float) -> Iterator[Frame]:
    """Yield ``fps`` frames per second, chosen as `ladnet_fast.video.resample.resample` does.

    Parameters
    ----------
    frames : iterator of Frame
        Their times grow.
    fps : float
        Frames per second.

    Yields
    ------
    Frame
        With the times of the ticks, which begin at the first frame's, and numbers of their own. A
        frame that is chosen several times is yielded that often. Each one is held back until the
        next frame has come.
    """
    rate = require_rate(fps)
    assert rate is not None
    start: float | None = None

    def timed() -> Iterator[tuple[Timed, Frame]]:
        nonlocal start
        for frame in frames:
            start = frame.time if start is None else start
            # A time in seconds came from a fraction such as n / 90,000; this is that fraction.
            yield Timed(Fraction(frame.time - start).limit_denominator(_FINEST), Fraction(0)), frame

    tick = 0
    for frame, times in resample(timed(), rate):
        assert start is not None
        for _ in range(times):
            yield replace(frame, number=tick, time=start + tick / fps)
            tick += 1
