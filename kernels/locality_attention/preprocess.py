"""The backward pass, first kernel: delta; additive: also each program's share of dw and db."""

import triton
import triton.language as tl

from .bags import locate
from .band import band_radius, band_rows, prior_slopes, prior_tile
from .tiles import NEVER_SPECIALIZED, input_base, load_rows, store_sums


@triton.jit
def store_partials(partials, dw, db):
    """Store this program's shares of dw and db, [programs, 2]; the host adds them in order."""
    slot = partials + tl.program_id(0).to(tl.int64) * 2
    tl.store(slot, dw)
    tl.store(slot + 1, db)


@triton.jit(do_not_specialize=NEVER_SPECIALIZED)
def attention_preprocess(
    v, w, b, grad_out, attended, delta, partials, lengths, cu_seqlens,
    v_batch: tl.int64, v_head: tl.int64, v_row: tl.int64,
    grad_out_batch: tl.int64, grad_out_head: tl.int64, grad_out_row: tl.int64,
    attended_batch: tl.int64, attended_head: tl.int64, attended_row: tl.int64,
    H: tl.int32, T: tl.int32, bags: tl.int32, tiles: tl.int32,
    D: tl.constexpr, BLOCK_D: tl.constexpr, UNIT: tl.constexpr,
    PRIOR: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_BAND: tl.constexpr,
):  # fmt: skip
    """Fill ``BLOCK_M`` rows of delta_i = <dO_i, A_i>; additive: one pair of partials of dw and db.

    ``attended`` is A = softmax(S) V, the output without the additive prior's share.
    """
    start_m, length, limit, first, batch, head = locate(
        lengths, cu_seqlens, H, T, bags, tiles, BLOCK_M
    )
    if start_m >= length:
        zeros = tl.zeros((BLOCK_M,), tl.float32)
        store_sums(delta, zeros, start_m, length, limit, batch, head, first, H, T)
        if PRIOR == "additive":
            store_partials(partials, 0.0, 0.0)
        return

    base = input_base(
        grad_out, batch, head, first, grad_out_batch, grad_out_head, grad_out_row, UNIT
    )
    # [BLOCK_M, BLOCK_D]
    do = load_rows(base, start_m, length, grad_out_row * UNIT, BLOCK_M, D, BLOCK_D, MASKED=True)
    base = input_base(
        attended, batch, head, first, attended_batch, attended_head, attended_row, UNIT
    )
    # [BLOCK_M, BLOCK_D]
    a = load_rows(base, start_m, length, attended_row * UNIT, BLOCK_M, D, BLOCK_D, MASKED=True)
    delta_i = tl.sum(do.to(tl.float32) * a.to(tl.float32), 1)
    store_sums(delta, delta_i, start_m, length, limit, batch, head, first, H, T)

    if PRIOR == "additive":
        v_base = input_base(v, batch, head, first, v_batch, v_head, v_row, UNIT)
        # scalars
        w_head = tl.load(w + head)
        b_head = tl.load(b + head)
        radius = band_radius(w_head, b_head, length)
        dw = tl.zeros((BLOCK_M,), tl.float32)
        db = tl.zeros((BLOCK_M,), tl.float32)
        low, high = band_rows(start_m, length, radius, BLOCK_M)
        for start_n in tl.range(low, high, BLOCK_BAND):
            # [BLOCK_BAND, BLOCK_D]
            v_tile = load_rows(
                v_base, start_n, length, v_row * UNIT, BLOCK_BAND, D, BLOCK_D, MASKED=True
            )
            # [BLOCK_M, BLOCK_BAND] = [BLOCK_M, BLOCK_D] x [BLOCK_D, BLOCK_BAND]; 0 outside of the
            # bag, where rows of do and of v were loaded as 0.
            dp = tl.dot(do, tl.trans(v_tile), input_precision=PRECISION)
            prior, argument, distance2 = prior_tile(
                start_m, start_n, w_head, b_head, BLOCK_M, BLOCK_BAND
            )  # fmt: skip
            more_w, more_b = prior_slopes(dp, prior, argument, distance2)
            dw += more_w
            db += more_b
        store_partials(partials, tl.sum(dw, 0), tl.sum(db, 0))
