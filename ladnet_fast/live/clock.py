"""The time of a stream's frames, made of timestamps that may be missing, wrap or jump."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

#: A step between two frames beyond this, or backwards, is a jump of the sender's clock.
MOST_STEP = 10.0
_USUAL_RATE = 25.0


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
        Frames a second, for frames without a timestamp and after jumps; None: 25.
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
        """Return about where a packet's timestamp lies, without moving the clock."""
        if timestamp is None or self._origin is None:
            return self._next
        time = timestamp - self._origin
        return time if abs(time - self._last) <= MOST_STEP else self._next


def at_rate(frames: Iterator[Frame], fps: float) -> Iterator[Frame]:
    """Yield ``fps`` frames a second: at each tick the latest frame that is there, once or more.

    Parameters
    ----------
    frames : iterator of Frame
        Their times grow.
    fps : float
        Frames a second.

    Yields
    ------
    Frame
        With the times of the ticks, which begin at the first frame's, and numbers of their own.
    """
    held: Frame | None = None
    tick = 0
    start = 0.0
    for frame in frames:
        if held is None:
            start = frame.time
        # Half a millisecond: timestamps of 90,000ths, or of milliseconds, are rounded.
        while held is not None and frame.time > start + tick / fps + 5e-4:
            yield replace(held, number=tick, time=start + tick / fps)
            tick += 1
        held = frame
    if held is not None:
        yield replace(held, number=tick, time=start + tick / fps)
