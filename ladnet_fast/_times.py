"""Where snippets lie in frames and in time, and how a time is written, for the whole package."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def clock(seconds: float, *, decimals: int = 0, mark: str = ".", hours: int = 1) -> str:
    """Write a time as ``h:mm:ss``, rounded down as players show it.

    Parameters
    ----------
    seconds : float
        At least 0.
    decimals : int
        Digits of the fraction of a second. With 1 or more, a time is rounded to the nearest
        instead, halves up.
    mark : str
        Between seconds and fractions.
    hours : int
        Least number of digits of the hours; SubRip files have two.

    Returns
    -------
    str
        For example ``0:00:45``, ``1:02:03.4`` or ``00:00:45,440``.

    Raises
    ------
    ValueError
        If ``seconds`` is negative or not finite.
    """
    if not 0 <= seconds < math.inf:
        raise ValueError(f"seconds must be a finite number of at least 0; got {seconds}")
    unit = 10**decimals
    # Frames divided by a rate may fall just below the whole second that they stand for.
    ticks = math.floor(seconds * unit + 0.5) if decimals else math.floor(seconds + 1e-6)
    whole, fraction = divmod(ticks, unit)
    text = f"{whole // 3600:0{hours}d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
    return f"{text}{mark}{fraction:0{decimals}d}" if decimals else text


def snippet_borders(
    count: int, frames_per_snippet: int | None, num_frames: int | None
) -> NDArray[np.float64]:
    """Return the frame at which each of ``count`` snippets begins, then where the last one ends.

    Parameters
    ----------
    count : int
        Snippets of the video.
    frames_per_snippet : int or None
        Frames of a snippet; None: the snippets share ``num_frames`` evenly.
    num_frames : int or None
        Length of the video. None: the length of the snippets together; if ``frames_per_snippet``
        is None too, the result counts snippets instead of frames.

    Returns
    -------
    ndarray, (count + 1,), float64
        The last snippet also covers frames at the end that fill no snippet.
    """
    import numpy as np  # not at the top: the command line starts without it

    if frames_per_snippet is None:
        return np.linspace(0, count if num_frames is None else num_frames, count + 1)
    borders = np.arange(count + 1.0) * frames_per_snippet
    if num_frames is not None:
        borders = np.minimum(borders, num_frames)
        borders[-1] = num_frames
    return borders


def time_ticks(seconds: float, *, most: int = 9) -> list[float]:
    """Return round times from 0 to ``seconds`` for an axis, at most ``most`` of them."""
    steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200]
    steps += [3600.0 * hours for hours in (3, 4, 6, 12, 24)]
    step = next((step for step in steps if seconds / step < most), 86_400.0)
    while seconds / step >= most:
        step *= 2
    return [step * n for n in range(int(seconds / step + 1e-9) + 1)]
