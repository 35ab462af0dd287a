"""Percentiles, paired ratios and growth exponents."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Summary:
    """Distribution of a quantity over the rounds of a run."""

    p20: float
    p50: float
    p80: float
    count: int

    def as_dict(self) -> dict[str, float]:
        """Return the fields, for JSON."""
        return asdict(self)


def summarise(samples: Sequence[float]) -> Summary:
    """Return the 20th, 50th and 80th percentile (linear between neighbours) of ``samples``."""
    if not samples:
        raise ValueError("samples is empty: a summary needs at least one measurement")
    if not all(math.isfinite(x) for x in samples):
        raise ValueError("samples must be finite")
    p20, p50, p80 = (float(x) for x in np.percentile(samples, [20, 50, 80]))
    return Summary(p20, p50, p80, len(samples))


def paired_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Summary:
    """Return the distribution of ``numerator[i] / denominator[i]``, over the rounds of both.

    Both sides of a round ran within moments of each other, so a machine that slows down for a
    while drops out of the ratio. Rounds that only one of them took part in are left out.
    """
    return summarise([a / b for a, b in zip(numerator, denominator, strict=False)])


def growth_exponent(points: Mapping[int, float], *, least: float = 0.0) -> float | None:
    """Return x of the least-squares fit value = c size^x over ``points`` (size -> value).

    Sizes under ``least`` are left out: fixed costs rule there. None for fewer than two points.
    """
    kept = [(size, value) for size, value in points.items() if size >= least and value > 0]
    if len(kept) < 2:
        return None
    sizes, values = np.log(np.array(kept)).T
    centred = sizes - sizes.mean()
    return float((centred @ values) / (centred @ centred))
