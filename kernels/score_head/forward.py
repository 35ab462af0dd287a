"""Forward kernel: a product of feature rows with the taps, and a sum along its diagonals."""

from __future__ import annotations

import triton
import triton.language as tl

from .rows import rows_left

_RUNTIME = ["x_stride_b", "x_stride_t", "T", "channels"]


@triton.jit(do_not_specialize=_RUNTIME)
def score_head_forward(
    X,
    WEIGHT,
    BIAS,
    LENGTHS,
    SCORES,
    SLOPES,
    x_stride_b,
    x_stride_t,
    T,
    channels,
    HAS_LENGTHS: tl.constexpr,
    SAVE_SLOPES: tl.constexpr,
    UNIT: tl.constexpr,
    TAPS: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_TAPS: tl.constexpr,
):
    """Fill SCORES (B, T), and SLOPES (B, T), d score / d logit, with SAVE_SLOPES.

    X (B, T, C) has unit stride along C; its strides and C are given in units of UNIT elements.
    WEIGHT (C, TAPS), BIAS (1,), LENGTHS (B,) int64. A program reads BLOCK_T rows and writes the
    BLOCK_T - (TAPS - 1) scores for which it has seen all taps.
    """
    OUTPUTS: tl.constexpr = BLOCK_T - (TAPS - 1)
    T = T.to(tl.int64)
    C = channels * UNIT
    block = tl.program_id(0).to(tl.int64)
    blocks_per_bag = tl.cdiv(T, OUTPUTS)
    bag = block // blocks_per_bag
    first = (block % blocks_per_bag) * OUTPUTS
    length = T
    if HAS_LENGTHS:
        length = tl.minimum(tl.load(LENGTHS + bag).to(tl.int64), T)

    row = tl.arange(0, BLOCK_T)
    tap = tl.arange(0, BLOCK_TAPS)
    # Inside a block, 32 bits are enough: offsets from the first row read, which may lie before the
    # bag, and how many rows are left.
    start_row = first - (TAPS - 1)
    left = rows_left(start_row, length, BLOCK_T)
    readable = (row < left) & (row >= tl.maximum(-start_row, 0).to(tl.int32))
    row_stride = x_stride_t.to(tl.int64) * UNIT
    rows = X + bag * (x_stride_b.to(tl.int64) * UNIT) + start_row * row_stride + row * row_stride
    products = tl.zeros([BLOCK_T, BLOCK_TAPS], dtype=tl.float32)
    # A block of padding reads nothing.
    for start in range(0, tl.where(first < length, C, 0), BLOCK_C):
        channel = start + tl.arange(0, BLOCK_C)
        known = channel < C
        x = tl.load(
            rows[:, None] + channel[None, :], mask=readable[:, None] & known[None, :], other=0.0
        )
        weight = tl.load(
            WEIGHT + channel[:, None] * TAPS + tap[None, :],
            mask=known[:, None] & (tap < TAPS)[None, :],
            other=0.0,
        )
        products = tl.dot(x, weight, products, input_precision="ieee")

    # Output j is the sum over taps i of products[j + i, i].
    source = tl.minimum(row[:, None] + tap[None, :], BLOCK_T - 1)
    diagonals = tl.gather(products, source, 0)
    # Where a feature is NaN, so are the columns beyond the taps.
    logit = tl.sum(tl.where((tap < TAPS)[None, :], diagonals, 0.0), 1)
    logit += tl.load(BIAS).to(tl.float32)
    score = tl.sigmoid(logit)

    written = (row < OUTPUTS) & (row < rows_left(first, T, BLOCK_T))
    valid = row < rows_left(first, length, BLOCK_T)
    at = bag * T + first + row
    score_type = SCORES.dtype.element_ty
    tl.store(SCORES + at, tl.where(valid, score, 0.0).to(score_type), mask=written)
    if SAVE_SLOPES:
        # Not score (1 - score): that has no digits left where the score rounds to 1.
        slope = score * tl.sigmoid(-logit)
        tl.store(SLOPES + at, tl.where(valid, slope, 0.0), mask=written)
