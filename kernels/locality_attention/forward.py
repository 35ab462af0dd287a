"""The forward pass: flash attention, and the prior for nothing."""

import triton
import triton.language as tl

from .bags import locate
from .band import band_radius, band_rows, near_tiles, prior_tile
from .tiles import (
    LN_2,
    LOG2_E,
    NEVER_SPECIALIZED,
    input_base,
    load_rows,
    store_rows,
    store_sums,
)


@triton.jit
def _attend(
    acc, total, peak, q, k_base, v_base, k_row, v_row, start, key, length, factor, w, b,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    PRECISION: tl.constexpr, MASKED: tl.constexpr, LOGIT: tl.constexpr,
):  # fmt: skip
    """Add the keys from ``key`` on to a running softmax in base 2: sums, their total, the maximum.

    ``factor`` is scale * log2(e), at least 0.
    """
    k = load_rows(k_base, key, length, k_row, BLOCK_N, D, BLOCK_D, MASKED)
    logits = tl.dot(q, tl.trans(k), input_precision=PRECISION)
    if LOGIT:
        prior, _, _ = prior_tile(start, key, w, b, BLOCK_M, BLOCK_N)
        logits = logits * factor + prior * LOG2_E
    elif MASKED:
        logits = logits * factor
    if MASKED:
        # After the factor, which may be 0.
        inside = key + tl.arange(0, BLOCK_N) < length
        logits = tl.where(inside[None, :], logits, -float("inf"))
    if LOGIT or MASKED:
        higher = tl.maximum(peak, tl.max(logits, 1))
        p = tl.exp2(logits - higher[:, None])
    else:
        # The factor goes into the subtraction: one fused instruction an element.
        higher = tl.maximum(peak, tl.max(logits, 1) * factor)
        p = tl.exp2(logits * factor - higher[:, None])
    decay = tl.exp2(peak - higher)
    total = total * decay + tl.sum(p, 1)
    acc = acc * decay[:, None]
    v = load_rows(v_base, key, length, v_row, BLOCK_N, D, BLOCK_D, MASKED)
    acc = tl.dot(p.to(v.dtype), v, acc, input_precision=PRECISION)
    return acc, total, higher


@triton.jit(do_not_specialize=NEVER_SPECIALIZED)
def attention_forward(
    q, k, v, w, b, out, softmax_out, lse, lengths, cu_seqlens,
    q_batch: tl.int64, q_head: tl.int64, q_row: tl.int64,
    k_batch: tl.int64, k_head: tl.int64, k_row: tl.int64,
    v_batch: tl.int64, v_head: tl.int64, v_row: tl.int64,
    scale: tl.float32, H: tl.int32, T: tl.int32, bags: tl.int32, tiles: tl.int32,
    D: tl.constexpr, BLOCK_D: tl.constexpr, UNIT: tl.constexpr,
    PRIOR: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_BAND: tl.constexpr,
):  # fmt: skip
    """Fill ``BLOCK_M`` rows of out and lse, and of softmax_out where it is given."""
    start, length, limit, first, batch, head = locate(
        lengths, cu_seqlens, H, T, bags, tiles, BLOCK_M
    )
    acc = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    total = tl.zeros((BLOCK_M,), tl.float32)
    # Addresses of results are computed where they are used: over the loops they cost registers.
    if start >= length:
        store_rows(out, acc, start, length, limit, batch, head, first, H, T, D)
        store_sums(lse, total, start, length, limit, batch, head, first, H, T)
        if softmax_out is not None:
            store_rows(softmax_out, acc, start, length, limit, batch, head, first, H, T, D)
        return

    q_base = input_base(q, batch, head, first, q_batch, q_head, q_row, UNIT)
    k_base = input_base(k, batch, head, first, k_batch, k_head, k_row, UNIT)
    v_base = input_base(v, batch, head, first, v_batch, v_head, v_row, UNIT)
    k_row *= UNIT
    v_row *= UNIT
    factor = scale * LOG2_E
    peak = tl.full((BLOCK_M,), -float("inf"), tl.float32)
    rows = load_rows(q_base, start, length, q_row * UNIT, BLOCK_M, D, BLOCK_D, True)
    full = length // BLOCK_N
    tail = (length + BLOCK_N - 1) // BLOCK_N - full  # 0 or 1

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
        low, high = near_tiles(start, length, radius, BLOCK_M, BLOCK_N)
    for tile in tl.range(0, low):
        acc, total, peak = _attend(
            acc, total, peak, rows, k_base, v_base, k_row, v_row, start, tile * BLOCK_N,
            length, factor, w_head, b_head,
            D, BLOCK_D, BLOCK_M, BLOCK_N, PRECISION, False, False,
        )  # fmt: skip
    if PRIOR == "logit":
        for tile in tl.range(high, full):
            acc, total, peak = _attend(
                acc, total, peak, rows, k_base, v_base, k_row, v_row, start, tile * BLOCK_N,
                length, factor, w_head, b_head,
                D, BLOCK_D, BLOCK_M, BLOCK_N, PRECISION, False, False,
            )  # fmt: skip
    # Near tiles, then the ragged tail. It is no branch of its own: as one it costs registers.
    for i in tl.range(low, high + tail):
        tile = tl.where(i < high, i, full)
        acc, total, peak = _attend(
            acc, total, peak, rows, k_base, v_base, k_row, v_row, start, tile * BLOCK_N,
            length, factor, w_head, b_head,
            D, BLOCK_D, BLOCK_M, BLOCK_N, PRECISION, True, PRIOR == "logit",
        )  # fmt: skip

    acc = acc / total[:, None]
    if softmax_out is not None:
        store_rows(softmax_out, acc, start, length, limit, batch, head, first, H, T, D)
    if PRIOR == "additive":
        low, high = band_rows(start, length, radius, BLOCK_M)
        for key in tl.range(low, high, BLOCK_BAND):
            values = load_rows(v_base, key, length, v_row, BLOCK_BAND, D, BLOCK_D, True)
            prior, _, _ = prior_tile(start, key, w_head, b_head, BLOCK_M, BLOCK_BAND)
            acc = tl.dot(prior.to(values.dtype), values, acc, input_precision=PRECISION)
    store_rows(out, acc, start, length, limit, batch, head, first, H, T, D)
    sums = (peak + tl.log2(total)) * LN_2
    store_sums(lse, sums, start, length, limit, batch, head, first, H, T)
