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
    """Fill SCORES (B, T); with SAVE_SLOPES also SLOPES (B, T), d score / d logit.

    X (B, T, C) has unit stride along C; its strides and C are given in units of UNIT elements.
    WEIGHT (C, TAPS), BIAS (1,), LENGTHS (B,) int64. A program reads BLOCK_T rows and writes the
    BLOCK_T - (TAPS - 1) scores whose taps are all among these rows.
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
        # a scalar
        length = tl.minimum(tl.load(LENGTHS + bag).to(tl.int64), T)

    row = tl.arange(0, BLOCK_T)
    tap = tl.arange(0, BLOCK_TAPS)
    # Inside a block rows are counted in 32 bits, from the first one that is read. That one lies
    # before the bag in a bag's first block.
    start_row = first - (TAPS - 1)
    left = rows_left(start_row, length, BLOCK_T)
    readable = (row < left) & (row >= tl.maximum(-start_row, 0).to(tl.int32))
    row_stride = x_stride_t.to(tl.int64) * UNIT
    rows = X + bag * (x_stride_b.to(tl.int64) * UNIT) + start_row * row_stride + row * row_stride
    products = tl.zeros([BLOCK_T, BLOCK_TAPS], dtype=tl.float32)
    # A block of nothing but padding skips the loop.
    for start in range(0, tl.where(first < length, C, 0), BLOCK_C):
        channel = start + tl.arange(0, BLOCK_C)
        known = channel < C
        # [BLOCK_T, BLOCK_C]
        x = tl.load(
            rows[:, None] + channel[None, :], mask=readable[:, None] & known[None, :], other=0.0
        )
        # [BLOCK_C, BLOCK_TAPS]
        weight = tl.load(
            WEIGHT + channel[:, None] * TAPS + tap[None, :],
            mask=known[:, None] & (tap < TAPS)[None, :],
            other=0.0,
        )
        # [BLOCK_T, BLOCK_TAPS] += [BLOCK_T, BLOCK_C] x [BLOCK_C, BLOCK_TAPS]
        products = tl.dot(x, weight, products, input_precision="ieee")

    # Output j is the sum over taps i of products[j + i, i]: [BLOCK_T, BLOCK_TAPS], then [BLOCK_T].
    source = tl.minimum(row[:, None] + tap[None, :], BLOCK_T - 1)
    diagonals = tl.gather(products, source, 0)
    # Columns beyond the taps are masked: a NaN feature makes them NaN, although their weight is 0.
    logit = tl.sum(tl.where((tap < TAPS)[None, :], diagonals, 0.0), 1)
    # a scalar
    logit += tl.load(BIAS).to(tl.float32)
    score = tl.sigmoid(logit)

    written = (row < OUTPUTS) & (row < rows_left(first, T, BLOCK_T))
    valid = row < rows_left(first, length, BLOCK_T)
    at = bag * T + first + row
    score_type = SCORES.dtype.element_ty
    tl.store(SCORES + at, tl.where(valid, score, 0.0).to(score_type), mask=written)
    if SAVE_SLOPES:
        # Not score (1 - score), which is 0 where the score rounds to 1.
        slope = score * tl.sigmoid(-logit)
        tl.store(SLOPES + at, tl.where(valid, slope, 0.0), mask=written)
