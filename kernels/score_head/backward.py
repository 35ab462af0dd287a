"""Backward kernel: gradients of features, weight and bias from one read of the features."""

from __future__ import annotations

import triton
import triton.language as tl

from .rows import rows_left

_RUNTIME = ["x_stride_b", "x_stride_t", "T", "channels", "blocks", "blocks_per_program"]


@triton.jit(do_not_specialize=_RUNTIME)
def score_head_backward(
    X,
    WEIGHT,
    GRAD,
    SLOPES,
    LENGTHS,
    GRAD_X,
    WEIGHT_PARTS,
    BIAS_PARTS,
    x_stride_b,
    x_stride_t,
    T,
    channels,
    blocks,
    blocks_per_program,
    HAS_LENGTHS: tl.constexpr,
    NEED_INPUT: tl.constexpr,
    NEED_PARAMETERS: tl.constexpr,
    SPLIT: tl.constexpr,
    UNIT: tl.constexpr,
    TAPS: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_TAPS: tl.constexpr,
):
    """Fill GRAD_X (B, T, C), and the program's row of WEIGHT_PARTS and BIAS_PARTS.

    Along the grid's first axis each program owns a run of consecutive blocks of BLOCK_T rows, along
    the second BLOCK_C channels. X, WEIGHT, LENGTHS and SLOPES as in the forward kernel; GRAD
    (B, T), the gradient of the scores; WEIGHT_PARTS (programs, C, TAPS) and BIAS_PARTS (programs,),
    float32. With SPLIT the gradient enters each product as the sum of two numbers of X's type.
    """
    T = T.to(tl.int64)
    C = channels * UNIT
    batch_stride = x_stride_b.to(tl.int64) * UNIT
    row_stride = x_stride_t.to(tl.int64) * UNIT
    program = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    known = channel < C
    row = tl.arange(0, BLOCK_T)
    tap = tl.arange(0, BLOCK_TAPS)
    blocks_per_bag = tl.cdiv(T, BLOCK_T)
    if NEED_INPUT:
        # [BLOCK_TAPS, BLOCK_C]
        weight = tl.load(
            WEIGHT + channel[None, :] * TAPS + tap[:, None],
            mask=known[None, :] & (tap < TAPS)[:, None],
            other=0.0,
        )
    weight_grad = tl.zeros([BLOCK_C, BLOCK_TAPS], dtype=tl.float32)
    # A sum of its own: for sm_100 Triton up to 3.8 compiles two products of a turn that are added
    # into one sum to wrong code (triton-lang/triton, issue 10821).
    low_weight_grad = tl.zeros([BLOCK_C, BLOCK_TAPS], dtype=tl.float32)
    bias_grad = tl.zeros([BLOCK_T], dtype=tl.float32)

    begin = program * blocks_per_program
    end = tl.minimum(begin + blocks_per_program, blocks.to(tl.int64))
    for block in range(begin, end):
        bag = block // blocks_per_bag
        first = (block % blocks_per_bag) * BLOCK_T
        length = T
        if HAS_LENGTHS:
            # a scalar
            length = tl.minimum(tl.load(LENGTHS + bag).to(tl.int64), T)
        # Inside a block rows are counted in 32 bits, from its first one.
        valid = row < rows_left(first, length, BLOCK_T)
        # Row t went through tap i into logit t + TAPS - 1 - i, whose gradient is grad[t, i].
        ahead = row[:, None] + (TAPS - 1 - tap)[None, :]
        met = (ahead < rows_left(first, length, BLOCK_T + TAPS)) & (tap < TAPS)[None, :]
        at = bag * T + first
        # [BLOCK_T, BLOCK_TAPS] each
        grad = tl.load(GRAD + at + ahead, mask=met, other=0.0).to(tl.float32)
        grad *= tl.load(SLOPES + at + ahead, mask=met, other=0.0)
        # Tensor cores multiply 16-bit numbers; high + low has twice the digits of one of them.
        high = grad.to(X.dtype.element_ty)
        if SPLIT:
            low = (grad - high.to(tl.float32)).to(X.dtype.element_ty)
        if NEED_PARAMETERS:
            rows = X + bag * batch_stride + first * row_stride + row * row_stride
            # [BLOCK_T, BLOCK_C]
            x = tl.load(
                rows[:, None] + channel[None, :], mask=valid[:, None] & known[None, :], other=0.0
            )
            columns = tl.trans(x)
            # [BLOCK_C, BLOCK_TAPS] += [BLOCK_C, BLOCK_T] x [BLOCK_T, BLOCK_TAPS], twice
            weight_grad = tl.dot(columns, high, weight_grad, input_precision="ieee")
            if SPLIT:
                low_weight_grad = tl.dot(columns, low, low_weight_grad, input_precision="ieee")
            bias_grad += tl.sum(tl.where((tap == TAPS - 1)[None, :], grad, 0.0), 1)
        if NEED_INPUT:
            # [BLOCK_T, BLOCK_C] = [BLOCK_T, BLOCK_TAPS] x [BLOCK_TAPS, BLOCK_C], twice
            grad_x = tl.dot(high, weight, input_precision="ieee")
            if SPLIT:
                grad_x = tl.dot(low, weight, grad_x, input_precision="ieee")
            # Padding gets 0, also where a weight is NaN or infinite.
            grad_x = tl.where(valid[:, None], grad_x, 0.0).to(GRAD_X.dtype.element_ty)
            tl.store(
                GRAD_X + at * C + row[:, None] * C + channel[None, :],
                grad_x,
                mask=(row < rows_left(first, T, BLOCK_T))[:, None] & known[None, :],
            )

    if NEED_PARAMETERS:
        tl.store(
            WEIGHT_PARTS + (program * C + channel[:, None]) * TAPS + tap[None, :],
            weight_grad + low_weight_grad,
            mask=known[:, None] & (tap < TAPS)[None, :],
        )
        if tl.program_id(1) == 0:
            tl.store(BIAS_PARTS + program, tl.sum(bias_grad, 0))
