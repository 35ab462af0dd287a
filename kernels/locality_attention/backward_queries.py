"""The backward pass: dQ; with the logit prior also each program's share of dw and db.

Alone or beside dK and dV (`backward.py`). A program owns ``BLOCK_M`` queries and walks over tiles
of ``BLOCK_N`` keys. The additive prior does not enter dQ, since it is added behind the softmax:
``prior="none"`` has the same kernel.
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
    dq, dw, db, q, do, lse, delta, k_base, v_base, k_row, v_row,
    start_m, start_n, length, qk_scale, w, b,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    PRECISION: tl.constexpr, MASKED: tl.constexpr, LOGIT: tl.constexpr,
):  # fmt: skip
    """Return dq, dw and db with what the keys from ``start_n`` on add.

    ``dq`` lacks the factor ``scale``, which the kernel applies at the end; ``dw`` and ``db`` are
    one sum per query. ``lse`` is in base 2.
    """
    # [BLOCK_N, BLOCK_D]
    k = load_rows(k_base, start_n, length, k_row, BLOCK_N, D, BLOCK_D, MASKED=MASKED)
    # [BLOCK_M, BLOCK_N] = [BLOCK_M, BLOCK_D] x [BLOCK_D, BLOCK_N]
    qk = tl.dot(q, tl.trans(k), input_precision=PRECISION)
    # [BLOCK_N, BLOCK_D]
    v = load_rows(v_base, start_n, length, v_row, BLOCK_N, D, BLOCK_D, MASKED=MASKED)
    # [BLOCK_M, BLOCK_N] = [BLOCK_M, BLOCK_D] x [BLOCK_D, BLOCK_N]
    dp = tl.dot(do, tl.trans(v), input_precision=PRECISION)
    if LOGIT:
        prior, argument, distance2 = prior_tile(start_m, start_n, w, b, BLOCK_M, BLOCK_N)
        p = tl.exp2(qk * qk_scale + prior * LOG2_E - lse[:, None])
    else:
        p = tl.exp2(qk * qk_scale - lse[:, None])
    if MASKED:
        p = tl.where((start_n + tl.arange(0, BLOCK_N) < length)[None, :], p, 0.0)
    ds = p * (dp - delta[:, None])
    if LOGIT:
        more_w, more_b = prior_slopes(ds, prior, argument, distance2)
        dw += more_w
        db += more_b
    # [BLOCK_M, BLOCK_D] += [BLOCK_M, BLOCK_N] x [BLOCK_N, BLOCK_D]
    dq = tl.dot(ds.to(k.dtype), k, dq, input_precision=PRECISION)
    return dq, dw, db


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
    """Fill ``BLOCK_M`` rows of grad_q, and with the logit prior one pair of partials.

    The partials of dw and db are computed whether they are wanted or not: near the diagonal they
    cost little, and a kernel without them would need configurations of its own.
    """
    start_m, length, limit, first, batch, head = locate(
        lengths, cu_seqlens, H, T, bags, tiles, BLOCK_M
    )
    dq = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    if start_m >= length:
        store_rows(grad_q, dq, start_m, length, limit, batch, head, first, H, T, D)
        if PRIOR == "logit":
            store_partials(partials, 0.0, 0.0)
        return

    q_base = input_base(q, batch, head, first, q_batch, q_head, q_row, UNIT)
    k_base = input_base(k, batch, head, first, k_batch, k_head, k_row, UNIT)
    v_base = input_base(v, batch, head, first, v_batch, v_head, v_row, UNIT)
    do_base = input_base(
        grad_out, batch, head, first, grad_out_batch, grad_out_head, grad_out_row, UNIT
    )
    k_row *= UNIT
    v_row *= UNIT
    qk_scale = scale * LOG2_E
    # [BLOCK_M, BLOCK_D] each
    q_tile = load_rows(q_base, start_m, length, q_row * UNIT, BLOCK_M, D, BLOCK_D, MASKED=True)
    do = load_rows(do_base, start_m, length, grad_out_row * UNIT, BLOCK_M, D, BLOCK_D, MASKED=True)
    offs_m = start_m + tl.arange(0, BLOCK_M)
    lse_base = sums_base(lse, batch, head, first, H, T)
    delta_base = sums_base(delta, batch, head, first, H, T)
    # [BLOCK_M] each
    lse_i = tl.load(lse_base + offs_m, mask=offs_m < length, other=float("inf")) * LOG2_E
    delta_i = tl.load(delta_base + offs_m, mask=offs_m < length, other=0.0)
    full = length // BLOCK_N
    tail = (length + BLOCK_N - 1) // BLOCK_N - full  # 0 or 1
    dw = tl.zeros((BLOCK_M,), tl.float32)
    db = tl.zeros((BLOCK_M,), tl.float32)

    w_head = 0.0
    b_head = 0.0
    low = full
    high = full
    if PRIOR == "logit":
        # scalars
        w_head = tl.load(w + head)
        b_head = tl.load(b + head)
        radius = band_radius(w_head, b_head, length)
        low, high = near_tiles(start_m, length, radius, BLOCK_M, BLOCK_N)
    # Far tiles: those before the near ones, and with the logit prior those behind them.
    if ONE_FAR_LOOP:
        for side in tl.range(0, 2):
            for tile in tl.range(tl.where(side == 0, 0, high), tl.where(side == 0, low, full)):
                dq, dw, db = _collect(
                    dq, dw, db, q_tile, do, lse_i, delta_i, k_base, v_base, k_row, v_row,
                    start_m, tile * BLOCK_N, length, qk_scale, w_head, b_head,
                    D, BLOCK_D, BLOCK_M, BLOCK_N, PRECISION, MASKED=False, LOGIT=False,
                )  # fmt: skip
    else:
        for side in tl.static_range(2 if PRIOR == "logit" else 1):
            for tile in tl.range(0 if side == 0 else high, low if side == 0 else full):
                dq, dw, db = _collect(
                    dq, dw, db, q_tile, do, lse_i, delta_i, k_base, v_base, k_row, v_row,
                    start_m, tile * BLOCK_N, length, qk_scale, w_head, b_head,
                    D, BLOCK_D, BLOCK_M, BLOCK_N, PRECISION, MASKED=False, LOGIT=False,
                )  # fmt: skip
    for i in tl.range(low, high + tail):
        tile = tl.where(i < high, i, full)
        dq, dw, db = _collect(
            dq, dw, db, q_tile, do, lse_i, delta_i, k_base, v_base, k_row, v_row,
            start_m, tile * BLOCK_N, length, qk_scale, w_head, b_head,
            D, BLOCK_D, BLOCK_M, BLOCK_N, PRECISION, MASKED=True, LOGIT=PRIOR == "logit",
        )  # fmt: skip

    # Over a bag of one snippet the softmax is constant: dq, dw and db are exactly 0, not rounding
    # errors.
    varies = tl.where(length > 1, 1.0, 0.0)
    dq *= scale * varies
    store_rows(grad_q, dq, start_m, length, limit, batch, head, first, H, T, D)
    if PRIOR == "logit":
        store_partials(partials, tl.sum(dw, 0) * varies, tl.sum(db, 0) * varies)
