"""Forward kernel: the sum of two tensors, normalised row by row."""

from __future__ import annotations

import triton
import triton.language as tl

from ..score_head.rows import rows_left
from .normal import normal_rows, read_rows

_RUNTIME = [
    "x_stride_b", "x_stride_t", "hidden_stride_b", "hidden_stride_t", "T", "columns", "eps"
]  # fmt: skip


@triton.jit(do_not_specialize=_RUNTIME)
def residual_norm_forward(
    X,
    HIDDEN,
    WEIGHT,
    BIAS,
    LENGTHS,
    OUT,
    x_stride_b,
    x_stride_t,
    hidden_stride_b,
    hidden_stride_t,
    T,
    columns,
    eps,
    HAS_LENGTHS: tl.constexpr,
    UNIT: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Fill OUT (B, T, D): the normalised rows of X + HIDDEN, 0 on padding.

    X and HIDDEN (B, T, D) have unit stride along D; their strides and D (``columns``) are given in
    units of UNIT elements. WEIGHT and BIAS (D,), LENGTHS (B,) int64. A program owns BLOCK_T rows of
    one bag, whole: BLOCK_D is at least D.
    """
    T = T.to(tl.int64)
    D = columns * UNIT
    block = tl.program_id(0).to(tl.int64)
    blocks_per_bag = tl.cdiv(T, BLOCK_T)
    bag = block // blocks_per_bag
    first = (block % blocks_per_bag) * BLOCK_T
    length = T
    if HAS_LENGTHS:
        # a scalar
        length = tl.minimum(tl.load(LENGTHS + bag).to(tl.int64), T)
    row = tl.arange(0, BLOCK_T)
    column = tl.arange(0, BLOCK_D)
    known = column < D
    valid = row < rows_left(first, length, BLOCK_T)
    # [BLOCK_T, BLOCK_D] each
    x = read_rows(X, bag, first, row, column, valid, known, x_stride_b, x_stride_t, UNIT)
    hidden = read_rows(
        HIDDEN, bag, first, row, column, valid, known, hidden_stride_b, hidden_stride_t, UNIT
    )
    normal, _ = normal_rows(x + hidden, valid, known, D, eps)
    # [BLOCK_D] each
    weight = tl.load(WEIGHT + column, mask=known, other=0.0).to(tl.float32)
    bias = tl.load(BIAS + column, mask=known, other=0.0).to(tl.float32)
    # Padding gets 0, also where a weight is NaN or infinite.
    out = tl.where(valid[:, None], normal * weight[None, :] + bias[None, :], 0.0)
    tl.store(
        OUT + (bag * T + first) * D + row[:, None] * D + column[None, :],
        out.to(OUT.dtype.element_ty),
        mask=(row < rows_left(first, T, BLOCK_T))[:, None] & known[None, :],
    )
