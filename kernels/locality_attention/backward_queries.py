"""The backward pass, last: gradients of queries; with the logit prior also those of w and b.

The additive prior has no part in dQ: its softmax is that of ``prior="none"``, and so is the kernel.
"""

import triton
import triton.language as tl

from .bags import locate
from .band import band_radius, near_tiles, prior_slopes, prior_tile
from .preprocess import store_partials
from .tiles import (
    LOG2_E,
    NEVER_SPECIALIZED,
    input_base,
    load_rows,
    store_rows,
    sums_base,
)


@triton.jit
def _collect(
    grad_q, dw, db, q, grad_out, lse, delta, k_base, v_base, k_row, v_row,
    start, key, length, factor, w, b,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    PRECISION: tl.constexpr, MASKED: tl.constexpr, LOGIT: tl.constexpr,
):  # fmt: skip
    """Add what the keys from ``key`` on send to the queries; ``lse`` in base 2."""
    k = load_rows(k_base, key, length, k_row, BLOCK_N, D, BLOCK_D, MASKED)
    logits = tl.dot(q, tl.trans(k), input_precision=PRECISION)
    v = load_rows(v_base, key, length, v_row, BLOCK_N, D, BLOCK_D, MASKED)
    grad_p = tl.dot(grad_out, tl.trans(v), input_precision=PRECISION)
    if LOGIT:
        prior, argument, distance2 = prior_tile(start, key, w, b, BLOCK_M, BLOCK_N)
        p = tl.exp2(logits * factor + prior * LOG2_E - lse[:, None])
    else:
        p = tl.exp2(logits * factor - lse[:, None])
    if MASKED:
        p = tl.where((key + tl.arange(0, BLOCK_N) < length)[None, :], p, 0.0)
    grad_logits = p * (grad_p - delta[:, None])
    if LOGIT:
        more_w, more_b = prior_slopes(grad_logits, prior, argument, distance2)
        dw += more_w
        db += more_b
    grad_q = tl.dot(grad_logits.to(k.dtype), k, grad_q, input_precision=PRECISION)
    return grad_q, dw, db


@triton.jit(do_not_specialize=NEVER_SPECIALIZED)
def attention_backward_queries(
    q, k, v, w, b, grad_out, lse, delta, grad_q, partials, lengths, cu_seqlens,
    q_batch: tl.int64, q_head: tl.int64, q_row: tl.int64,
    k_batch: tl.int64, k_head: tl.int64, k_row: tl.int64,
    v_batch: tl.int64, v_head: tl.int64, v_row: tl.int64,
    grad_out_batch: tl.int64, grad_out_head: tl.int64, grad_out_row: tl.int64,
    scale: tl.float32, H: tl.int32, T: tl.int32, bags: tl.int32, tiles: tl.int32,
    D: tl.constexpr, BLOCK_D: tl.constexpr, UNIT: tl.constexpr,
    PRIOR: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, ONE_FAR_LOOP: tl.constexpr,
):  # fmt: skip
    """Fill ``BLOCK_M`` rows of the gradient of q, and with the logit prior a pair of partials.

    The partials of dw and db are computed whether they are wanted or not: near the diagonal they
    cost little, and a kernel without them would need configurations of its own.
    """
    start, length, limit, first, batch, head = locate(
        lengths, cu_seqlens, H, T, bags, tiles, BLOCK_M
    )
    dq = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    if start >= length:
        store_rows(grad_q, dq, start, length, limit, batch, head, first, H, T, D)
        if PRIOR == "logit":
            store_partials(partials, 0.0, 0.0)
        return

    q_base = input_base(q, batch, head, first, q_batch, q_head, q_row, UNIT)
    k_base = input_base(k, batch, head, first, k_batch, k_head, k_row, UNIT)
    v_base = input_base(v, batch, head, first, v_batch, v_head, v_row, UNIT)
    grad_base = input_base(
        grad_out, batch, head, first, grad_out_batch, grad_out_head, grad_out_row, UNIT
    )
    k_row *= UNIT
    v_row *= UNIT
    factor = scale * LOG2_E
    rows = load_rows(q_base, start, length, q_row * UNIT, BLOCK_M, D, BLOCK_D, True)
    grads = load_rows(grad_base, start, length, grad_out_row * UNIT, BLOCK_M, D, BLOCK_D, True)
    row = start + tl.arange(0, BLOCK_M)
    lse_base = sums_base(lse, batch, head, first, H, T)
    delta_base = sums_base(delta, batch, head, first, H, T)
    sums = tl.load(lse_base + row, mask=row < length, other=float("inf")) * LOG2_E
    deltas = tl.load(delta_base + row, mask=row < length, other=0.0)
    full = length // BLOCK_N
    tail = (length + BLOCK_N - 1) // BLOCK_N - full  # 0 or 1
    dw = tl.zeros((BLOCK_M,), tl.float32)
    db = tl.zeros((BLOCK_M,), tl.float32)

    w_head = 0.0
    b_head = 0.0
    low = full
    high = full
    if PRIOR == "logit":
        w_head = tl.load(w + head)
        b_head = tl.load(b + head)
        radius = band_radius(w_head, b_head, length)
        low, high = near_tiles(start, length, radius, BLOCK_M, BLOCK_N)
    # Far tiles: those before the near ones, and with the logit prior those behind them.
    if ONE_FAR_LOOP:
        for side in tl.range(0, 2):
            for tile in tl.range(tl.where(side == 0, 0, high), tl.where(side == 0, low, full)):
                dq, dw, db = _collect(
                    dq, dw, db, rows, grads, sums, deltas, k_base, v_base, k_row, v_row,
                    start, tile * BLOCK_N, length, factor, w_head, b_head,
                    D, BLOCK_D, BLOCK_M, BLOCK_N, PRECISION, False, False,
                )  # fmt: skip
    else:
        for side in tl.static_range(2 if PRIOR == "logit" else 1):
            for tile in tl.range(0 if side == 0 else high, low if side == 0 else full):
                dq, dw, db = _collect(
                    dq, dw, db, rows, grads, sums, deltas, k_base, v_base, k_row, v_row,
                    start, tile * BLOCK_N, length, factor, w_head, b_head,
                    D, BLOCK_D, BLOCK_M, BLOCK_N, PRECISION, False, False,
                )  # fmt: skip
    for i in tl.range(low, high + tail):
        tile = tl.where(i < high, i, full)
        dq, dw, db = _collect(
            dq, dw, db, rows, grads, sums, deltas, k_base, v_base, k_row, v_row,
            start, tile * BLOCK_N, length, factor, w_head, b_head,
            D, BLOCK_D, BLOCK_M, BLOCK_N, PRECISION, True, PRIOR == "logit",
        )  # fmt: skip

    # The softmax of a single snippet is constant; what rounding leaves of its slope is no gradient.
    varies = tl.where(length > 1, 1.0, 0.0)
    dq *= scale * varies
    store_rows(grad_q, dq, start, length, limit, batch, head, first, H, T, D)
    if PRIOR == "logit":
        store_partials(partials, tl.sum(dw, 0) * varies, tl.sum(db, 0) * varies)
