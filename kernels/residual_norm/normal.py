"""What both passes do with a block of rows: read it, and normalise it."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def read_rows(
    X, bag, first, row, column, valid, known, stride_b, stride_t, UNIT: tl.constexpr
):  # fmt: skip
    """Return [BLOCK_T, BLOCK_D] of X (B, T, D) in float32; what is not valid or known is 0."""
    row_stride = stride_t.to(tl.int64) * UNIT
    rows = X + bag * (stride_b.to(tl.int64) * UNIT) + first * row_stride + row * row_stride
    x = tl.load(rows[:, None] + column[None, :], mask=valid[:, None] & known[None, :], other=0.0)
    return x.to(tl.float32)


@triton.jit
def normal_rows(total, valid, known, D, eps):
    """Return the rows less their mean over their deviation, and 1 / deviation; padding is 0.

    ``total`` [BLOCK_T, BLOCK_D] is 0 beyond the D known columns. The deviation is that of the
    centred rows, held in registers: no difference of large squares.
    """
    mean = tl.sum(total, 1) / D
    centred = tl.where(known[None, :], total - mean[:, None], 0.0)
    variance = tl.sum(centred * centred, 1) / D
    # With eps = 0 a row of zeros has no deviation.
    scale = tl.where(valid, 1.0 / tl.sqrt_rn(variance + eps), 0.0)
    return centred * scale[:, None], scale
