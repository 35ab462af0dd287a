"""How many rows of a block lie before an end, of a bag or of the tensor."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def rows_left(first, end, MOST: tl.constexpr):
    """Return ``end - first`` clamped to [0, MOST], as an int32.

    Both are 64-bit: a block may begin far behind the end of its bag.
    """
    return tl.maximum(tl.minimum(end - first, MOST), 0).to(tl.int32)
