"""Timing of several sides in turn.

The order rotates from round to round, so that no side always follows the same one, and a slow
moment of the machine hits all sides of a round alike. Each sample comes after untimed calls of
the same side, as in a loop of its user: a side that allocates gigabytes leaves caches cold behind
it, and memory that a hypervisor takes back, for which it may stop a thread of the next side ten
milliseconds later.

Sides that are far behind leave early: a ratio of ten is certain after few rounds, and what they
would take is spent on the sides that a few per cent set apart.
"""

from __future__ import annotations

import gc
import math
import statistics
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
    """Rounds that every side makes in any case."""
    close_rounds: int = 5
    """Rounds that sides make which take at most twice the time of the fastest."""
    close_seconds: float = 30.0
    """Time after which no further round of theirs begins, once the others have left."""
    max_rounds: int = 50
    """Rounds after which a case ends."""
    warm_up: int = 2
    """Calls of every side before the first round; the first compiles what is compiled lazily."""
    sample_seconds: float = 0.005
    """A sample repeats a quick call until it takes about this long."""
    settle_seconds: float = 0.0
    """Untimed calls come before each sample for so long; one at least."""


FULL = Plan(min_rounds=3, close_rounds=15, settle_seconds=0.02)
QUICK = Plan(
    seconds=1.5, min_rounds=3, close_rounds=3, max_rounds=20, warm_up=1, settle_seconds=0.02
)


def cpu_clock(call: Timed, repeats: int) -> float:
    """Return the wall-clock seconds of one call."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def interleaved(
    sides: Mapping[str, Timed], plan: Plan = FULL, clock: Clock = cpu_clock
) -> dict[str, list[float]]:
    """Return for every side the seconds of a call in each round that it took part in.

    Sides that are far behind take part in the first rounds only, so entry i of two sides is always
    of the same round.
    """
    names = list(sides)
    samples: dict[str, list[float]] = {name: [] for name in names}
    repeats = {name: _warm_up(sides[name], plan, clock) for name in names}
    with _no_garbage_collection():
        end = time.perf_counter() + plan.seconds
        last = math.inf
        for turn in range(plan.max_rounds):
            now = time.perf_counter()
            if turn >= plan.min_rounds and now > end:
                names = [name for name in _close(samples) if name in names]
                last = min(last, now + plan.close_seconds)
                if turn >= plan.close_rounds or now > last or len(names) < 2:
                    break
            first = turn % max(1, len(names))
            for name in names[first:] + names[:first]:
                _settle(sides[name], plan.settle_seconds)
                samples[name].append(clock(sides[name], repeats[name]))
    return samples


def _settle(call: Timed, seconds: float) -> None:
    """Call until what the side before has left behind in caches and memory is gone."""
    end = time.perf_counter() + seconds
    call()
    while time.perf_counter() < end:
        call()


def _close(samples: Mapping[str, list[float]]) -> list[str]:
    """Return the sides that take at most twice the time of the fastest."""
    medians = {name: statistics.median(seconds) for name, seconds in samples.items()}
    return [name for name, median in medians.items() if median <= 2 * min(medians.values())]


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
