"""How many rows of a block are there."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def rows_left(first, end, MOST: tl.constexpr):
    """Return how many rows there are from ``first`` up to ``end``, from 0 to MOST, in 32 bits.

    Both are 64-bit, and a block may begin far behind the end of a bag.
    """
    return tl.maximum(tl.minimum(end - first, MOST), 0).to(tl.int32)
