"""Stretches of frames or snippets, as a vector of True and False has them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def runs_of(mask: NDArray[Any]) -> list[tuple[int, int]]:
    """Return [start, stop) of every run of True (or of 1) in a vector, in their order."""
    borders = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(start, stop) for start, stop in borders.reshape(-1, 2).tolist()]
