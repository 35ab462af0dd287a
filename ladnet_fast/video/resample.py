"""Frames of a video at another rate: for each time k / rate, the frame that is nearest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple, TypeVar

from .._values import real_number

Picture = TypeVar("Picture")

#: Published features were made from videos of 25 or 30 frames per second. Far from these, a snippet
#: of 16 frames shows much more or less time than the networks were trained on.
USUAL_RATES = (20.0, 35.0)


class Timed(NamedTuple):
    """When a frame is shown, in seconds, and for how long (0: not known)."""

    time: Fraction
    duration: Fraction


def require_rate(fps: float | None) -> Fraction | None:
    """Return ``fps`` as an exact number of frames per second, or None.

    Raises
    ------
    ValueError
        If it is no number from 0.01 to 1000.
    """
    if fps is None:
        return None
    allowed = "None or frames per second from 0.01 to 1000"
    return Fraction(str(real_number("fps", fps, allowed, least=0.01, most=1000)))


def unusual(rate: float | None) -> str | None:
    """Say what a frame rate far from the usual ones means for features; None for usual ones.

    Parameters
    ----------
    rate : float or None
        Frames per second; None: not known.
    """
    low, high = USUAL_RATES
    if rate is None or low <= rate <= high:
        return None
    return (
        f"has {rate:g} frames per second, so 16 frames show {16 / rate:.2g} s; published features "
        "were made at 25 to 30 (0.53 to 0.64 s). --fps 25 chooses frames by time"
    )


def resample(
    frames: Iterable[tuple[Timed, Picture]], rate: Fraction
) -> Iterator[tuple[Picture, int]]:
    """Choose frames by time.

    The k-th chosen frame is the one whose time, counted from the first frame, is nearest to
    k / ``rate``; of two that are equally near, the earlier. The last one is chosen as long as it is
    shown: for its own duration, or, where that isn't known, for as long as the frame before it. So
    a video of d seconds gives about d * ``rate`` frames, whatever its own rate and however that
    varies.

    Parameters
    ----------
    frames : iterable of (Timed, picture)
        In the order they are shown. A frame whose time is not later than that of the one before
        counts as shown with it, and is passed over.
    rate : Fraction
        Frames per second.

    Yields
    ------
    (picture, int)
        Each frame that is chosen, once, and how many times in a row.
    """
    k = 0
    start: Fraction | None = None
    held: tuple[Fraction, Fraction, Picture] | None = None
    for (moment, duration), picture in frames:
        if start is None or held is None:
            start = moment
            held = (Fraction(0), duration, picture)
            continue
        time = moment - start
        before, _, earlier = held
        if time <= before:
            continue
        # k / rate <= (before + time) / 2, the middle belonging to the earlier frame
        end = (before + time) * rate / 2 // 1 + 1
        if end > k:
            yield earlier, int(end) - k
            k = int(end)
        held = (time, duration or time - before, picture)
    if held is not None:
        time, duration, picture = held
        end = -((-(time + duration) * rate) // 1)  # the first k that is not before the end
        times = max(int(end) - k, 1 if k == 0 else 0)
        if times:
            yield picture, times
