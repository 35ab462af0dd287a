"""The backward pass of short bags, all of it in one launch: dK, dV, dQ, delta, dw and db.

`backward` reads delta, which a launch before it has computed: two launches, of which the first does
little. Here whoever needs delta of some rows computes it from dO and A: a program of dQ for its own
rows, once; a program of dK and dV in each turn of its loop. That makes its turns longer, which for
bags of many tiles costs more than a launch.

The prior takes part in each tile that its band reaches. Additive: G is added to the weights in
registers, so that dV = (P + G)^T dO is one product, and dG = dO V^T is the product that dQ needs.
So there is no banded product, and dw and db of both priors come with dQ.

The grid is that of `backward`.
"""

import triton
import triton.language as tl

from .bags import locate
from .band import band_radius, band_rows, prior_slopes, prior_tile
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
def _keys(
    q_base, k_base, v_base, do_base, a_base, lse_base, grad_k, grad_v,
    q_row, k_row, v_row, do_row, a_row,
    start_n, length, limit, first, batch, head, scale, w, b, low, high, H, T,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    PRIOR: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Fill ``BLOCK_N`` rows of grad_k and grad_v; tiles are (keys, queries), as in `backward_keys`.

    The band reaches the queries ``low .. high - 1``.
    """
    # [BLOCK_N, BLOCK_D] each
    dk = tl.zeros((BLOCK_N, BLOCK_D), tl.float32)
    dv = tl.zeros((BLOCK_N, BLOCK_D), tl.float32)
    k = load_rows(k_base, start_n, length, k_row, BLOCK_N, D, BLOCK_D, MASKED=True)
    v = load_rows(v_base, start_n, length, v_row, BLOCK_N, D, BLOCK_D, MASKED=True)
    for start_m in tl.range(0, length, BLOCK_M):
        offs_m = start_m + tl.arange(0, BLOCK_M)
        # [BLOCK_M, BLOCK_D]
        q = load_rows(q_base, start_m, length, q_row, BLOCK_M, D, BLOCK_D, MASKED=True)
        # [BLOCK_M]; rows without a query get lse = inf, which makes their p 0.
        lse = tl.load(lse_base + offs_m, mask=offs_m < length, other=float("inf")) * LOG2_E
        # [BLOCK_N, BLOCK_M] = [BLOCK_N, BLOCK_D] x [BLOCK_D, BLOCK_M]
        exponent = tl.dot(k, tl.trans(q), input_precision=PRECISION) * (scale * LOG2_E)
        near = (start_m < high) & (start_m + BLOCK_M > low)
        if PRIOR == "logit" and near:
            prior, _, _ = prior_tile(start_n, start_m, w, b, BLOCK_N, BLOCK_M)
            exponent += prior * LOG2_E
        pT = tl.exp2(exponent - lse[None, :])
        weights = pT
        if PRIOR == "additive" and near:
            # G is symmetric. Where there is no query it is no 0, but the rows of dO are.
            prior, _, _ = prior_tile(start_n, start_m, w, b, BLOCK_N, BLOCK_M)
            weights = pT + prior
        # [BLOCK_M, BLOCK_D] each
        do = load_rows(do_base, start_m, length, do_row, BLOCK_M, D, BLOCK_D, MASKED=True)
        a = load_rows(a_base, start_m, length, a_row, BLOCK_M, D, BLOCK_D, MASKED=True)
        # [BLOCK_N, BLOCK_D] += [BLOCK_N, BLOCK_M] x [BLOCK_M, BLOCK_D]
        dv = tl.dot(weights.to(do.dtype), do, dv, input_precision=PRECISION)
        # [BLOCK_M]
        delta = tl.sum(do.to(tl.float32) * a.to(tl.float32), 1)
        # [BLOCK_N, BLOCK_M] = [BLOCK_N, BLOCK_D] x [BLOCK_D, BLOCK_M]
        dpT = tl.dot(v, tl.trans(do), input_precision=PRECISION)
        dsT = pT * (dpT - delta[None, :])
        # [BLOCK_N, BLOCK_D] += [BLOCK_N, BLOCK_M] x [BLOCK_M, BLOCK_D]
        dk = tl.dot(dsT.to(q.dtype), q, dk, input_precision=PRECISION)
    # Over a bag of one snippet the softmax is constant: dk is exactly 0, not a rounding error.
    dk *= tl.where(length > 1, scale, 0.0)
    store_rows(grad_k, dk, start_n, length, limit, batch, head, first, H, T, D)
    store_rows(grad_v, dv, start_n, length, limit, batch, head, first, H, T, D)


@triton.jit
def _queries(
    q_base, k_base, v_base, do_base, a_base, lse_base, grad_q, partials,
    q_row, k_row, v_row, do_row, a_row,
    start_m, length, limit, first, batch, head, scale, w, b, low, high, H, T,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    PRIOR: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Fill ``BLOCK_M`` rows of grad_q, and with a prior one pair of partials.

    The band reaches the keys ``low .. high - 1``.
    """
    offs_m = start_m + tl.arange(0, BLOCK_M)
    # [BLOCK_M, BLOCK_D] each
    dq = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    q = load_rows(q_base, start_m, length, q_row, BLOCK_M, D, BLOCK_D, MASKED=True)
    do = load_rows(do_base, start_m, length, do_row, BLOCK_M, D, BLOCK_D, MASKED=True)
    a = load_rows(a_base, start_m, length, a_row, BLOCK_M, D, BLOCK_D, MASKED=True)
    # [BLOCK_M] each
    lse = tl.load(lse_base + offs_m, mask=offs_m < length, other=float("inf")) * LOG2_E
    delta = tl.sum(do.to(tl.float32) * a.to(tl.float32), 1)
    dw = tl.zeros((BLOCK_M,), tl.float32)
    db = tl.zeros((BLOCK_M,), tl.float32)
    for start_n in tl.range(0, length, BLOCK_N):
        # [BLOCK_N, BLOCK_D] each
        k = load_rows(k_base, start_n, length, k_row, BLOCK_N, D, BLOCK_D, MASKED=True)
        v = load_rows(v_base, start_n, length, v_row, BLOCK_N, D, BLOCK_D, MASKED=True)
        # [BLOCK_M, BLOCK_N] = [BLOCK_M, BLOCK_D] x [BLOCK_D, BLOCK_N], twice
        exponent = tl.dot(q, tl.trans(k), input_precision=PRECISION) * (scale * LOG2_E)
        dp = tl.dot(do, tl.trans(v), input_precision=PRECISION)
        near = (start_n < high) & (start_n + BLOCK_N > low)
        if PRIOR == "logit" and near:
            prior, _, _ = prior_tile(start_m, start_n, w, b, BLOCK_M, BLOCK_N)
            exponent += prior * LOG2_E
        p = tl.exp2(exponent - lse[:, None])
        p = tl.where((start_n + tl.arange(0, BLOCK_N) < length)[None, :], p, 0.0)
        ds = p * (dp - delta[:, None])
        if PRIOR != "none" and near:
            # The logit prior's again: kept from above it would cost registers.
            prior, argument, distance2 = prior_tile(start_m, start_n, w, b, BLOCK_M, BLOCK_N)
            # dG; additive: 0 outside of the bag, where rows of dO and of V were loaded as 0.
            slope = ds if PRIOR == "logit" else dp
            more_w, more_b = prior_slopes(slope, prior, argument, distance2)
            dw += more_w
            db += more_b
        # [BLOCK_M, BLOCK_D] += [BLOCK_M, BLOCK_N] x [BLOCK_N, BLOCK_D]
        dq = tl.dot(ds.to(k.dtype), k, dq, input_precision=PRECISION)
    # Over a bag of one snippet the softmax is constant: dq is exactly 0, and so are dw and db of
    # the logit prior.
    varies = tl.where(length > 1, 1.0, 0.0)
    dq *= scale * varies
    store_rows(grad_q, dq, start_m, length, limit, batch, head, first, H, T, D)
    if PRIOR == "logit":
        store_partials(partials, tl.sum(dw, 0) * varies, tl.sum(db, 0) * varies)
    if PRIOR == "additive":
        store_partials(partials, tl.sum(dw, 0), tl.sum(db, 0))


@triton.jit(do_not_specialize=NEVER_SPECIALIZED)
def attention_short_backward(
    q, k, v, w, b, grad_out, attended, lse, grad_q, grad_k, grad_v, partials, lengths, cu_seqlens,
    q_batch: tl.int64, q_head: tl.int64, q_row: tl.int64,
    k_batch: tl.int64, k_head: tl.int64, k_row: tl.int64,
    v_batch: tl.int64, v_head: tl.int64, v_row: tl.int64,
    grad_out_batch: tl.int64, grad_out_head: tl.int64, grad_out_row: tl.int64,
    attended_batch: tl.int64, attended_head: tl.int64, attended_row: tl.int64,
    scale: tl.float32, H: tl.int32, T: tl.int32, bags: tl.int32, tiles: tl.int32,
    D: tl.constexpr, BLOCK_D: tl.constexpr, UNIT: tl.constexpr,
    PRIOR: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, QUERIES_N: tl.constexpr,
):  # fmt: skip
    """Fill ``BLOCK_N`` rows of grad_k and grad_v, or as many of grad_q and one pair of partials.

    ``attended`` is A = softmax(S) V, as in `preprocess`; ``partials`` are [programs along the first
    axis, 2]. A bag may be of any length; how long one should be at most is a matter of speed.
    """
    start, length, limit, first, batch, head = locate(
        lengths, cu_seqlens, H, T, bags, tiles, BLOCK_N
    )
    if start >= length:
        zeros = tl.zeros((BLOCK_N, BLOCK_D), tl.float32)
        if tl.program_id(1) == 0:
            store_rows(grad_k, zeros, start, length, limit, batch, head, first, H, T, D)
            store_rows(grad_v, zeros, start, length, limit, batch, head, first, H, T, D)
        else:
            store_rows(grad_q, zeros, start, length, limit, batch, head, first, H, T, D)
            if PRIOR != "none":
                store_partials(partials, 0.0, 0.0)
        return

    q_base = input_base(q, batch, head, first, q_batch, q_head, q_row, UNIT)
    k_base = input_base(k, batch, head, first, k_batch, k_head, k_row, UNIT)
    v_base = input_base(v, batch, head, first, v_batch, v_head, v_row, UNIT)
    do_base = input_base(
        grad_out, batch, head, first, grad_out_batch, grad_out_head, grad_out_row, UNIT
    )
    a_base = input_base(
        attended, batch, head, first, attended_batch, attended_head, attended_row, UNIT
    )
    lse_base = sums_base(lse, batch, head, first, H, T)
    w_head = 0.0
    b_head = 0.0
    low = 0
    high = 0
    if PRIOR != "none":
        # scalars
        w_head = tl.load(w + head)
        b_head = tl.load(b + head)
        low, high = band_rows(start, length, band_radius(w_head, b_head, length), BLOCK_N)
    if tl.program_id(1) == 0:
        _keys(
            q_base, k_base, v_base, do_base, a_base, lse_base, grad_k, grad_v,
            q_row * UNIT, k_row * UNIT, v_row * UNIT, grad_out_row * UNIT, attended_row * UNIT,
            start, length, limit, first, batch, head, scale, w_head, b_head, low, high, H, T,
            D, BLOCK_D, BLOCK_M, BLOCK_N, PRIOR, PRECISION,
        )  # fmt: skip
    else:
        _queries(
            q_base, k_base, v_base, do_base, a_base, lse_base, grad_q, partials,
            q_row * UNIT, k_row * UNIT, v_row * UNIT, grad_out_row * UNIT, attended_row * UNIT,
            start, length, limit, first, batch, head, scale, w_head, b_head, low, high, H, T,
            D, BLOCK_D, BLOCK_N, QUERIES_N, PRIOR, PRECISION,
        )  # fmt: skip
