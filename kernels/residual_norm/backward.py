"""Backward kernel: gradients of summands and parameters from one read of every tensor."""

from __future__ import annotations

import triton
import triton.language as tl

from ..score_head.rows import rows_left
from .normal import normal_rows, read_rows

_RUNTIME = [
    "x_stride_b", "x_stride_t", "hidden_stride_b", "hidden_stride_t", "T", "columns", "eps",
    "blocks", "blocks_per_program",
]  # fmt: skip


@triton.jit(do_not_specialize=_RUNTIME)
def residual_norm_backward(
    X,
    HIDDEN,
    WEIGHT,
    GRAD,
    LENGTHS,
    GRAD_X,
    GRAD_HIDDEN,
    WEIGHT_PARTS,
    BIAS_PARTS,
    x_stride_b,
    x_stride_t,
    hidden_stride_b,
    hidden_stride_t,
    T,
    columns,
    eps,
    blocks,
    blocks_per_program,
    HAS_LENGTHS: tl.constexpr,
    NEED_X: tl.constexpr,
    NEED_HIDDEN: tl.constexpr,
    NEED_PARAMETERS: tl.constexpr,
    UNIT: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Fill GRAD_X and GRAD_HIDDEN (B, T, D), and the program's rows of both PARTS (programs, D).

    A program owns a run of consecutive blocks of BLOCK_T rows. X, HIDDEN, WEIGHT and LENGTHS as in
    the forward kernel; GRAD (B, T, D) contiguous; PARTS float32. GRAD_X and GRAD_HIDDEN hold the
    same numbers, each in its own type.
    """
    T = T.to(tl.int64)
    D = columns * UNIT
    program = tl.program_id(0).to(tl.int64)
    row = tl.arange(0, BLOCK_T)
    column = tl.arange(0, BLOCK_D)
    known = column < D
    blocks_per_bag = tl.cdiv(T, BLOCK_T)
    weight = tl.load(WEIGHT + column, mask=known, other=0.0).to(tl.float32)
    weight_grad = tl.zeros([BLOCK_T, BLOCK_D], dtype=tl.float32)
    bias_grad = tl.zeros([BLOCK_T, BLOCK_D], dtype=tl.float32)

    begin = program * blocks_per_program
    end = tl.minimum(begin + blocks_per_program, blocks.to(tl.int64))
    for block in range(begin, end):
        bag = block // blocks_per_bag
        first = (block % blocks_per_bag) * BLOCK_T
        length = T
        if HAS_LENGTHS:
            # a scalar
            length = tl.minimum(tl.load(LENGTHS + bag).to(tl.int64), T)
        valid = row < rows_left(first, length, BLOCK_T)
        # [BLOCK_T, BLOCK_D] each
        at = (bag * T + first) * D + row[:, None] * D + column[None, :]
        grad = tl.load(GRAD + at, mask=valid[:, None] & known[None, :], other=0.0).to(tl.float32)
        x = read_rows(X, bag, first, row, column, valid, known, x_stride_b, x_stride_t, UNIT)
        hidden = read_rows(
            HIDDEN, bag, first, row, column, valid, known, hidden_stride_b, hidden_stride_t, UNIT
        )
        normal, scale = normal_rows(x + hidden, valid, known, D, eps)
        if NEED_PARAMETERS:
            weight_grad += grad * normal
            bias_grad += grad
        if NEED_X or NEED_HIDDEN:
            inner = grad * weight[None, :]
            level = tl.sum(inner, 1) / D
            slope = tl.sum(inner * normal, 1) / D
            total = scale[:, None] * (inner - level[:, None] - normal * slope[:, None])
            # Padding gets 0, also where a weight is NaN or infinite.
            total = tl.where(valid[:, None], total, 0.0)
            written = (row < rows_left(first, T, BLOCK_T))[:, None] & known[None, :]
            if NEED_X:
                tl.store(GRAD_X + at, total.to(GRAD_X.dtype.element_ty), mask=written)
            if NEED_HIDDEN:
                tl.store(GRAD_HIDDEN + at, total.to(GRAD_HIDDEN.dtype.element_ty), mask=written)

    if NEED_PARAMETERS:
        tl.store(WEIGHT_PARTS + program * D + column, tl.sum(weight_grad, 0), mask=known)
        tl.store(BIAS_PARTS + program * D + column, tl.sum(bias_grad, 0), mask=known)
