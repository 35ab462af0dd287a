"""The parts of a run, in their order, and how long each may take. Imports nothing that is slow."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

BUILD, CEILINGS, COMPILE, SPEED, SANITIZER = "build", "ceilings", "compile", "speed", "sanitizer"
#: Checks; each is a file of tests, ``tests/gpu/test_<part>.py``.
CHECKS = ("correctness", "graphs", "determinism", "memory")

#: Part -> its share of the time, in seconds of ten minutes. What a part leaves over goes to those
#: that come after it.
SHARES = {
    BUILD: 75.0,
    CEILINGS: 15.0,
    COMPILE: 100.0,
    "correctness": 70.0,
    "graphs": 30.0,
    "determinism": 60.0,
    "memory": 15.0,
    SPEED: 190.0,
    SANITIZER: 45.0,
}
STEPS = tuple(SHARES)


class Deadlines:
    """When each part has to end.

    Parameters
    ----------
    steps : sequence of str
        The parts that run, of `STEPS`, in their order.
    seconds : float or None
        What all of them may take together; None: as long as they like.
    clock : callable
        Returns the time in seconds; it is asked for the start at once.
    """

    def __init__(
        self,
        steps: Sequence[str],
        seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._start = clock()
        self.seconds = seconds
        self._ends: dict[str, float] = {}
        whole = sum(SHARES[step] for step in steps)
        shared = 0.0
        for step in steps:
            shared += SHARES[step]
            self._ends[step] = math.inf if seconds is None else seconds * shared / whole

    def left(self, step: str) -> float:
        """Return the seconds until a part has to end, at least 0; infinite without a limit."""
        return max(0.0, self._start + self._ends.get(step, math.inf) - self._clock())

    def elapsed(self) -> float:
        """Return the seconds since the start."""
        return self._clock() - self._start

    def no_time(self, step: str) -> str:
        """Return what to say of that for which a part has no time left."""
        whole = "" if self.seconds is None else f" of {self.seconds / 60:g} minutes"
        return (
            f"no time left for it: {step} has to end {self._ends[step]:.0f} s into the run{whole}; "
            f"--only {step} gives it all of the time, --minutes N more"
        )
