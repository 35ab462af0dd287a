"""How many bytes the two kernels that touch features move, against the least that must be.

A group of lanes walks through a strip of n snippets. Its rows are read once; so are those at the
seams, one (forward) or two (backward) a strip, which the neighbours read too.
"""

from __future__ import annotations

from dataclasses import dataclass

_VALUE = 4  # bytes of a score, a dynamic, a derivative


@dataclass(frozen=True)
class Moved:
    """Bytes a snippet."""

    read: float
    written: float

    @property
    def total(self) -> float:
        """Both directions."""
        return self.read + self.written

    def __add__(self, other: Moved) -> Moved:
        return Moved(self.read + other.read, self.written + other.written)


def forward(row: int, strip: float) -> Moved:
    """Return what the forward pass moves: rows of ``row`` bytes, scores, and what it leaves behind.

    Dynamics and the derivatives of three terms are written; dynamics are read again for the latter.
    Scores are counted once for the top-k and once for the derivatives.
    """
    return Moved(row * (1 + 1 / strip) + 3 * _VALUE, 4 * _VALUE)


def backward(row: int, strip: float) -> Moved:
    """Return what the backward pass moves: the rows again, and every gradient."""
    return Moved(row * (1 + 2 / strip) + 5 * _VALUE, row + _VALUE)


def least(row: int) -> Moved:
    """Return what both passes cannot do without: no seam, scores and dynamics read once a pass."""
    return Moved(2 * row + 6 * _VALUE, row + 5 * _VALUE)
