"""Which rows and tiles the prior reaches: kernels/locality_attention/band.py, on the host."""

from __future__ import annotations

import math
from dataclasses import dataclass

CUT = 24.0


@dataclass(frozen=True)
class Prior:
    """A kind of prior, "none", "additive" or "logit", and its parameters."""

    kind: str
    w: float = 0.0
    b: float = 0.0

    def radius(self, length: int) -> int:
        """Return the largest distance at which the prior matters; -1 if at none."""
        if self.kind == "none":
            return -1
        if self.w == 0:
            return length if abs(self.b) <= CUT else -1
        farthest = max((CUT - self.b) / self.w, (-CUT - self.b) / self.w)
        if farthest < 0:
            return -1
        found = math.sqrt(farthest) * 1.000001 + 1.0
        return int(found) if found < length else length

    def rows(self, start: int, owned: int, length: int) -> tuple[int, int]:
        """Return the range [low, high) of rows that the ``owned`` rows from ``start`` on reach."""
        radius = self.radius(length)
        low = max(start - radius, 0)
        return (low, min(start + owned + radius, length)) if radius >= 0 else (low, low)

    def tiles(self, start: int, owned: int, step: int, length: int) -> tuple[int, int]:
        """Return the range of full tiles of ``step`` rows that overlap those rows."""
        first, last = self.rows(start, owned, length)
        full = length // step
        low = min(first // step, full)
        return (low, min(-(-last // step), full)) if last > first else (low, low)
