"""The backward pass: dK and dV, alone or beside dQ (`backward.py`).

A program owns ``BLOCK_N`` keys and walks over tiles of ``BLOCK_M`` queries. Tiles are (keys,
queries): ``qkT``, ``pT``, ``dpT`` and ``dsT`` are transposed, so that no product needs a transposed
result.
"""

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
    dk, dv, k, v, q_base, do_base, lse_base, delta_base, q_row, do_row,
    start_n, start_m, length, qk_scale, w, b,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    PRECISION: tl.constexpr, MASKED: tl.constexpr, LOGIT: tl.constexpr,
):  # fmt: skip
    """Return dk and dv with what the queries from ``start_m`` on add to the keys of the program.

    ``dk`` lacks the factor ``scale``, which the kernel applies at the end.
    """
    offs_m = start_m + tl.arange(0, BLOCK_M)
    # [BLOCK_M, BLOCK_D]
    q = load_rows(q_base, start_m, length, q_row, BLOCK_M, D, BLOCK_D, MASKED=MASKED)
    # [BLOCK_M]
    if MASKED:
        # Rows without a query get lse = inf, which makes their p 0.
        lse = tl.load(lse_base + offs_m, mask=offs_m < length, other=float("inf"))
    else:
        lse = tl.load(lse_base + offs_m)
    # [BLOCK_N, BLOCK_M] = [BLOCK_N, BLOCK_D] x [BLOCK_D, BLOCK_M]
    qkT = tl.dot(k, tl.trans(q), input_precision=PRECISION)
    if LOGIT:
        prior, _, _ = prior_tile(start_n, start_m, w, b, BLOCK_N, BLOCK_M)
        pT = tl.exp2(qkT * qk_scale + prior * LOG2_E - (lse * LOG2_E)[None, :])
    else:
        pT = tl.exp2(qkT * qk_scale - (lse * LOG2_E)[None, :])
    # [BLOCK_M, BLOCK_D]
    do = load_rows(do_base, start_m, length, do_row, BLOCK_M, D, BLOCK_D, MASKED=MASKED)
    # [BLOCK_N, BLOCK_D] += [BLOCK_N, BLOCK_M] x [BLOCK_M, BLOCK_D]
    dv = tl.dot(pT.to(do.dtype), do, dv, input_precision=PRECISION)
    # [BLOCK_M]
    if MASKED:
        delta = tl.load(delta_base + offs_m, mask=offs_m < length, other=0.0)
    else:
        delta = tl.load(delta_base + offs_m)
    # [BLOCK_N, BLOCK_M] = [BLOCK_N, BLOCK_D] x [BLOCK_D, BLOCK_M]
    dpT = tl.dot(v, tl.trans(do), input_precision=PRECISION)
    dsT = pT * (dpT - delta[None, :])
    # [BLOCK_N, BLOCK_D] += [BLOCK_N, BLOCK_M] x [BLOCK_M, BLOCK_D]
    dk = tl.dot(dsT.to(q.dtype), q, dk, input_precision=PRECISION)
    return dk, dv


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
    """Fill ``BLOCK_N`` rows of grad_k and grad_v."""
    start_n, length, limit, first, batch, head = locate(
        lengths, cu_seqlens, H, T, bags, tiles, BLOCK_N
    )
    dk = tl.zeros((BLOCK_N, BLOCK_D), tl.float32)
    dv = tl.zeros((BLOCK_N, BLOCK_D), tl.float32)
    if start_n >= length:
        store_rows(grad_k, dk, start_n, length, limit, batch, head, first, H, T, D)
        store_rows(grad_v, dv, start_n, length, limit, batch, head, first, H, T, D)
        return

    q_base = input_base(q, batch, head, first, q_batch, q_head, q_row, UNIT)
    k_base = input_base(k, batch, head, first, k_batch, k_head, k_row, UNIT)
    v_base = input_base(v, batch, head, first, v_batch, v_head, v_row, UNIT)
    do_base = input_base(
        grad_out, batch, head, first, grad_out_batch, grad_out_head, grad_out_row, UNIT
    )
    lse_base = sums_base(lse, batch, head, first, H, T)
    delta_base = sums_base(delta, batch, head, first, H, T)
    q_row *= UNIT
    do_row = grad_out_row * UNIT
    qk_scale = scale * LOG2_E
    # [BLOCK_N, BLOCK_D] each
    k_tile = load_rows(k_base, start_n, length, k_row * UNIT, BLOCK_N, D, BLOCK_D, MASKED=True)
    v_tile = load_rows(v_base, start_n, length, v_row * UNIT, BLOCK_N, D, BLOCK_D, MASKED=True)
    full = length // BLOCK_M
    tail = (length + BLOCK_M - 1) // BLOCK_M - full  # 0 or 1

    w_head = 0.0
    b_head = 0.0
    radius = -1
    if PRIOR != "none":
        # scalars
        w_head = tl.load(w + head)
        b_head = tl.load(b + head)
        radius = band_radius(w_head, b_head, length)

    low = full
    high = full
    if PRIOR == "logit":
        low, high = near_tiles(start_n, length, radius, BLOCK_N, BLOCK_M)
    # Far tiles: those before the near ones, and with the logit prior those behind them.
    if ONE_FAR_LOOP:
        for side in tl.range(0, 2):
            for tile in tl.range(tl.where(side == 0, 0, high), tl.where(side == 0, low, full)):
                dk, dv = _collect(
                    dk, dv, k_tile, v_tile, q_base, do_base, lse_base, delta_base, q_row, do_row,
                    start_n, tile * BLOCK_M, length, qk_scale, w_head, b_head,
                    D, BLOCK_D, BLOCK_M, BLOCK_N, PRECISION, MASKED=False, LOGIT=False,
                )  # fmt: skip
    else:
        for side in tl.static_range(2 if PRIOR == "logit" else 1):
            for tile in tl.range(0 if side == 0 else high, low if side == 0 else full):
                dk, dv = _collect(
                    dk, dv, k_tile, v_tile, q_base, do_base, lse_base, delta_base, q_row, do_row,
                    start_n, tile * BLOCK_M, length, qk_scale, w_head, b_head,
                    D, BLOCK_D, BLOCK_M, BLOCK_N, PRECISION, MASKED=False, LOGIT=False,
                )  # fmt: skip
    for i in tl.range(low, high + tail):
        tile = tl.where(i < high, i, full)
        dk, dv = _collect(
            dk, dv, k_tile, v_tile, q_base, do_base, lse_base, delta_base, q_row, do_row,
            start_n, tile * BLOCK_M, length, qk_scale, w_head, b_head,
            D, BLOCK_D, BLOCK_M, BLOCK_N, PRECISION, MASKED=True, LOGIT=PRIOR == "logit",
        )  # fmt: skip

    if PRIOR == "additive":
        low, high = band_rows(start_n, length, radius, BLOCK_N)
        for start_m in tl.range(low, high, BLOCK_BAND):
            # [BLOCK_BAND, BLOCK_D]
            do = load_rows(do_base, start_m, length, do_row, BLOCK_BAND, D, BLOCK_D, MASKED=True)
            # G is symmetric: the tile of G^T is one of G.
            prior, _, _ = prior_tile(start_n, start_m, w_head, b_head, BLOCK_N, BLOCK_BAND)
            # [BLOCK_N, BLOCK_D] += [BLOCK_N, BLOCK_BAND] x [BLOCK_BAND, BLOCK_D]
            dv = tl.dot(prior.to(do.dtype), do, dv, input_precision=PRECISION)
    # Over a bag of one snippet the softmax is constant: dk is exactly 0, not a rounding error.
    dk *= tl.where(length > 1, scale, 0.0)
    store_rows(grad_k, dk, start_n, length, limit, batch, head, first, H, T, D)
    store_rows(grad_v, dv, start_n, length, limit, batch, head, first, H, T, D)
