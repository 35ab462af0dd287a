"""The backward pass, second: gradients of keys and values. A program owns a block of keys."""

import triton
import triton.language as tl

from .bags import locate
from .band import band_radius, band_rows, near_tiles, prior_tile
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
    grad_k, grad_v, k, v, q_base, grad_base, lse_base, delta_base, q_row, grad_row,
    start, query, length, factor, w, b,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    PRECISION: tl.constexpr, MASKED: tl.constexpr, LOGIT: tl.constexpr,
):  # fmt: skip
    """Add what the queries from ``query`` on send to the keys from ``start`` on.

    Tiles are (keys, queries), so that no product needs a transposed result.
    """
    row = query + tl.arange(0, BLOCK_M)
    q = load_rows(q_base, query, length, q_row, BLOCK_M, D, BLOCK_D, MASKED)
    if MASKED:
        # An infinite sum makes p 0 where there is no query.
        lse = tl.load(lse_base + row, mask=row < length, other=float("inf"))
    else:
        lse = tl.load(lse_base + row)
    logits = tl.dot(k, tl.trans(q), input_precision=PRECISION)
    if LOGIT:
        prior, _, _ = prior_tile(start, query, w, b, BLOCK_N, BLOCK_M)
        p = tl.exp2(logits * factor + prior * LOG2_E - (lse * LOG2_E)[None, :])
    else:
        p = tl.exp2(logits * factor - (lse * LOG2_E)[None, :])
    grad_out = load_rows(grad_base, query, length, grad_row, BLOCK_M, D, BLOCK_D, MASKED)
    grad_v = tl.dot(p.to(grad_out.dtype), grad_out, grad_v, input_precision=PRECISION)
    if MASKED:
        delta = tl.load(delta_base + row, mask=row < length, other=0.0)
    else:
        delta = tl.load(delta_base + row)
    grad_p = tl.dot(v, tl.trans(grad_out), input_precision=PRECISION)
    grad_logits = p * (grad_p - delta[None, :])
    grad_k = tl.dot(grad_logits.to(q.dtype), q, grad_k, input_precision=PRECISION)
    return grad_k, grad_v


@triton.jit(do_not_specialize=NEVER_SPECIALIZED)
def attention_backward_keys(
    q, k, v, w, b, grad_out, lse, delta, grad_k, grad_v, lengths, cu_seqlens,
    q_batch: tl.int64, q_head: tl.int64, q_row: tl.int64,
    k_batch: tl.int64, k_head: tl.int64, k_row: tl.int64,
    v_batch: tl.int64, v_head: tl.int64, v_row: tl.int64,
    grad_out_batch: tl.int64, grad_out_head: tl.int64, grad_out_row: tl.int64,
    scale: tl.float32, H: tl.int32, T: tl.int32, bags: tl.int32, tiles: tl.int32,
    D: tl.constexpr, BLOCK_D: tl.constexpr, UNIT: tl.constexpr,
    PRIOR: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_BAND: tl.constexpr,
    ONE_FAR_LOOP: tl.constexpr,
):  # fmt: skip
    """Fill ``BLOCK_N`` rows of the gradients of k and v."""
    start, length, limit, first, batch, head = locate(
        lengths, cu_seqlens, H, T, bags, tiles, BLOCK_N
    )
    dk = tl.zeros((BLOCK_N, BLOCK_D), tl.float32)
    dv = tl.zeros((BLOCK_N, BLOCK_D), tl.float32)
    if start >= length:
        store_rows(grad_k, dk, start, length, limit, batch, head, first, H, T, D)
        store_rows(grad_v, dv, start, length, limit, batch, head, first, H, T, D)
        return

    q_base = input_base(q, batch, head, first, q_batch, q_head, q_row, UNIT)
    k_base = input_base(k, batch, head, first, k_batch, k_head, k_row, UNIT)
    v_base = input_base(v, batch, head, first, v_batch, v_head, v_row, UNIT)
    grad_base = input_base(
        grad_out, batch, head, first, grad_out_batch, grad_out_head, grad_out_row, UNIT
    )
    lse_base = sums_base(lse, batch, head, first, H, T)
    delta_base = sums_base(delta, batch, head, first, H, T)
    q_row *= UNIT
    grad_row = grad_out_row * UNIT
    factor = scale * LOG2_E
    keys = load_rows(k_base, start, length, k_row * UNIT, BLOCK_N, D, BLOCK_D, True)
    values = load_rows(v_base, start, length, v_row * UNIT, BLOCK_N, D, BLOCK_D, True)
    full = length // BLOCK_M
    tail = (length + BLOCK_M - 1) // BLOCK_M - full  # 0 or 1

    w_head = 0.0
    b_head = 0.0
    radius = -1
    if PRIOR != "none":
        w_head = tl.load(w + head)
        b_head = tl.load(b + head)
        radius = band_radius(w_head, b_head, length)

    low = full
    high = full
    if PRIOR == "logit":
        low, high = near_tiles(start, length, radius, BLOCK_N, BLOCK_M)
    # Far tiles: those before the near ones, and with the logit prior those behind them.
    if ONE_FAR_LOOP:
        for side in tl.range(0, 2):
            for tile in tl.range(tl.where(side == 0, 0, high), tl.where(side == 0, low, full)):
                dk, dv = _collect(
                    dk, dv, keys, values, q_base, grad_base, lse_base, delta_base, q_row, grad_row,
                    start, tile * BLOCK_M, length, factor, w_head, b_head,
                    D, BLOCK_D, BLOCK_M, BLOCK_N, PRECISION, False, False,
                )  # fmt: skip
    else:
        for side in tl.static_range(2 if PRIOR == "logit" else 1):
            for tile in tl.range(0 if side == 0 else high, low if side == 0 else full):
                dk, dv = _collect(
                    dk, dv, keys, values, q_base, grad_base, lse_base, delta_base, q_row, grad_row,
                    start, tile * BLOCK_M, length, factor, w_head, b_head,
                    D, BLOCK_D, BLOCK_M, BLOCK_N, PRECISION, False, False,
                )  # fmt: skip
    for i in tl.range(low, high + tail):
        tile = tl.where(i < high, i, full)
        dk, dv = _collect(
            dk, dv, keys, values, q_base, grad_base, lse_base, delta_base, q_row, grad_row,
            start, tile * BLOCK_M, length, factor, w_head, b_head,
            D, BLOCK_D, BLOCK_M, BLOCK_N, PRECISION, True, PRIOR == "logit",
        )  # fmt: skip

    if PRIOR == "additive":
        low, high = band_rows(start, length, radius, BLOCK_N)
        for query in tl.range(low, high, BLOCK_BAND):
            grads = load_rows(grad_base, query, length, grad_row, BLOCK_BAND, D, BLOCK_D, True)
            prior, _, _ = prior_tile(start, query, w_head, b_head, BLOCK_N, BLOCK_BAND)
            dv = tl.dot(prior.to(grads.dtype), grads, dv, input_precision=PRECISION)
    # The softmax of a single snippet is constant; what rounding leaves of its slope is no gradient.
    dk *= tl.where(length > 1, scale, 0.0)
    store_rows(grad_k, dk, start, length, limit, batch, head, first, H, T, D)
    store_rows(grad_v, dv, start, length, limit, batch, head, first, H, T, D)
