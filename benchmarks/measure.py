"""Timing of several sides in turn.

The order rotates from round to round, so that no side always follows the same one, and a slow
moment of the machine hits all sides of a round alike. Each sample comes after an untimed call of
the same side, as in a loop of its user: a side that allocates gigabytes leaves caches cold behind
it, and memory that a hypervisor has taken back, which the next side would pay for.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

Timed = Callable[[], object]
#: ``clock(call, repeats)`` runs a call so many times and returns the seconds of one. The one for
#: CPUs is here; a runner for another device brings its own, which waits for the device.
Clock = Callable[[Timed, int], float]


@dataclass(frozen=True)
class Plan:
    """How long to measure."""

    seconds: float = 5.0
    """Time after which no further round of a case begins."""
    min_rounds: int = 5
    """Rounds that are made in any case."""
    max_rounds: int = 50
    """Rounds after which a case ends."""
    warm_up: int = 2
    """Calls of every side before the first round; the first compiles what is compiled lazily."""
    sample_seconds: float = 0.005
    """A sample repeats a quick call until it takes about this long."""


FULL = Plan()
QUICK = Plan(seconds=1.5, min_rounds=3, max_rounds=20, warm_up=1)


def cpu_clock(call: Timed, repeats: int) -> float:
    """Return the wall-clock seconds of one call."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def interleaved(
    sides: Mapping[str, Timed], plan: Plan = FULL, clock: Clock = cpu_clock
) -> dict[str, list[float]]:
    """Return for every side the seconds of a call in each round; all sides have equally many."""
    names = list(sides)
    samples: dict[str, list[float]] = {name: [] for name in names}
    repeats = {name: _warm_up(sides[name], plan, clock) for name in names}
    with _no_garbage_collection():
        end = time.perf_counter() + plan.seconds
        for turn in range(plan.max_rounds):
            if turn >= plan.min_rounds and time.perf_counter() > end:
                break
            first = turn % max(1, len(names))
            for name in names[first:] + names[:first]:
                sides[name]()  # what the side before left behind in caches and memory is gone
                samples[name].append(clock(sides[name], repeats[name]))
    return samples


def _warm_up(call: Timed, plan: Plan, clock: Clock) -> int:
    """Call until warm; return how many calls make a sample."""
    last = math.inf
    for _ in range(max(1, plan.warm_up)):
        last = clock(call, 1)
    return max(1, math.ceil(plan.sample_seconds / last)) if last > 0 else 1


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
