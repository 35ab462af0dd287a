"""The forward pass: flash attention; the prior is computed near the diagonal alone.

Names are those of the flash-attention papers and Triton's tutorials: a program owns the ``BLOCK_M``
queries from row ``start_m`` on and walks over tiles of ``BLOCK_N`` keys; ``m_i``, ``l_i`` and
``acc`` are the running maximum, sum and output of each query's softmax.

With ``parts`` the keys are split: the grid's second axis is that of the splits, a program takes its
own keys, and stores what it found as a part that `split.attention_combine` joins with the others.

With ``k_tiles`` and ``v_tiles``, descriptors, far tiles are copied by the GPU's own unit
(`descriptors`); results are the same.
"""

import triton
import triton.language as tl

from .bags import locate
from .band import band_radius, band_rows, near_tiles, prior_tile
from .descriptors import load_tile
from .split import own_keys, store_part, store_part_sums
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
    acc, l_i, m_i, q, k_base, v_base, k_row, v_row, start_m, start_n, length, qk_scale, w, b,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    PRECISION: tl.constexpr, MASKED: tl.constexpr, LOGIT: tl.constexpr,
):  # fmt: skip
    """Take the keys from ``start_n`` on into the running softmax; return ``acc``, ``l_i``, ``m_i``.

    ``m_i`` is the running maximum of a query's logits in base 2, ``l_i`` the running sum of
    2^(logit - m_i), ``acc`` that of 2^(logit - m_i) v. ``qk_scale`` is scale * log2(e), at least 0.
    ``k_base`` and ``v_base`` are addresses, or what `descriptors.load_tile` takes.
    """
    # [BLOCK_N, BLOCK_D]
    if isinstance(k_base, tl.tensor):
        k = load_rows(k_base, start_n, length, k_row, BLOCK_N, D, BLOCK_D, MASKED=MASKED)
    else:
        k = load_tile(k_base, start_n)
    # [BLOCK_M, BLOCK_N] = [BLOCK_M, BLOCK_D] x [BLOCK_D, BLOCK_N]
    qk = tl.dot(q, tl.trans(k), input_precision=PRECISION)
    if LOGIT:
        prior, _, _ = prior_tile(start_m, start_n, w, b, BLOCK_M, BLOCK_N)
        qk = qk * qk_scale + prior * LOG2_E
    elif MASKED:
        qk = qk * qk_scale
    if MASKED:
        # Masked only after scaling: a scale of 0 would turn -inf into NaN.
        inside = start_n + tl.arange(0, BLOCK_N) < length
        qk = tl.where(inside[None, :], qk, -float("inf"))
    if LOGIT or MASKED:
        m_ij = tl.maximum(m_i, tl.max(qk, 1))
        p = tl.exp2(qk - m_ij[:, None])
    else:
        # Scaled here rather than above: scale and subtraction are one fused multiply-add.
        m_ij = tl.maximum(m_i, tl.max(qk, 1) * qk_scale)
        p = tl.exp2(qk * qk_scale - m_ij[:, None])
    alpha = tl.exp2(m_i - m_ij)
    l_i = l_i * alpha + tl.sum(p, 1)
    acc = acc * alpha[:, None]
    # [BLOCK_N, BLOCK_D]
    if isinstance(v_base, tl.tensor):
        v = load_rows(v_base, start_n, length, v_row, BLOCK_N, D, BLOCK_D, MASKED=MASKED)
    else:
        v = load_tile(v_base, start_n)
    # [BLOCK_M, BLOCK_D] += [BLOCK_M, BLOCK_N] x [BLOCK_N, BLOCK_D]
    acc = tl.dot(p.to(v.dtype), v, acc, input_precision=PRECISION)
    return acc, l_i, m_ij


@triton.jit(do_not_specialize=NEVER_SPECIALIZED)
def attention_forward(
    q, k, v, k_tiles, v_tiles, w, b, out, softmax_out, lse, parts, part_sums, band_parts,
    lengths, cu_seqlens,
    q_batch: tl.int64, q_head: tl.int64, q_row: tl.int64,
    k_batch: tl.int64, k_head: tl.int64, k_row: tl.int64,
    v_batch: tl.int64, v_head: tl.int64, v_row: tl.int64,
    scale: tl.float32, H: tl.int32, T: tl.int32, bags: tl.int32, tiles: tl.int32, splits,
    D: tl.constexpr, BLOCK_D: tl.constexpr, UNIT: tl.constexpr,
    PRIOR: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_BAND: tl.constexpr,
):  # fmt: skip
    """Fill ``BLOCK_M`` rows of out and lse, and of softmax_out where it is given.

    With ``parts`` fill this program's part of them and of ``part_sums`` instead; additive: also of
    ``band_parts``, if the band reaches its keys.
    """
    start_m, length, limit, first, batch, head = locate(
        lengths, cu_seqlens, H, T, bags, tiles, BLOCK_M
    )
    acc = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    l_i = tl.zeros((BLOCK_M,), tl.float32)
    # The addresses of results are computed at each store: kept over the loops they cost registers.
    if start_m >= length:
        if parts is None:  # else it is `attention_combine` that stores zeros
            store_rows(out, acc, start_m, length, limit, batch, head, first, H, T, D)
            store_sums(lse, l_i, start_m, length, limit, batch, head, first, H, T)
            if softmax_out is not None:
                store_rows(softmax_out, acc, start_m, length, limit, batch, head, first, H, T, D)
        return

    q_base = input_base(q, batch, head, first, q_batch, q_head, q_row, UNIT)
    if parts is not None:
        begin, keys, full_tiles = own_keys(length, splits, BLOCK_N)
        if keys <= 0:
            return
        first += begin
    k_base = input_base(k, batch, head, first, k_batch, k_head, k_row, UNIT)
    v_base = input_base(v, batch, head, first, v_batch, v_head, v_row, UNIT)
    k_row *= UNIT
    v_row *= UNIT
    qk_scale = scale * LOG2_E
    m_i = tl.full((BLOCK_M,), -float("inf"), tl.float32)
    # [BLOCK_M, BLOCK_D]
    q_tile = load_rows(q_base, start_m, length, q_row * UNIT, BLOCK_M, D, BLOCK_D, MASKED=True)
    full = length // BLOCK_N
    tail = (length + BLOCK_N - 1) // BLOCK_N - full  # 0 or 1

    w_head = 0.0
    b_head = 0.0
    radius = -1
    if PRIOR != "none":
        # scalars
        w_head = tl.load(w + head)
        b_head = tl.load(b + head)
        radius = band_radius(w_head, b_head, length)
    if parts is not None:
        # From here on rows are counted from the first key of the split, as if its keys were a bag;
        # the queries may lie outside of it. So every loop begins at 0, as it does without splits.
        start_m -= begin
        length = keys
        full = full_tiles
        tail = (length + BLOCK_N - 1) // BLOCK_N - full

    low = full
    high = full
    if PRIOR == "logit":
        low, high = near_tiles(start_m, length, radius, BLOCK_M, BLOCK_N)
        if parts is not None:
            high = tl.maximum(low, high)  # the band may end before the first key
    k_far = k_base
    v_far = v_base
    if k_tiles is not None:
        k_far = (k_tiles, batch, head, first)
        v_far = (v_tiles, batch, head, first)
    # Far tiles: those before the near ones, and with the logit prior those behind them.
    for tile in tl.range(0, low):
        acc, l_i, m_i = _attend(
            acc, l_i, m_i, q_tile, k_far, v_far, k_row, v_row, start_m, tile * BLOCK_N,
            length, qk_scale, w_head, b_head,
            D, BLOCK_D, BLOCK_M, BLOCK_N, PRECISION, MASKED=False, LOGIT=False,
        )  # fmt: skip
    if PRIOR == "logit":
        for tile in tl.range(high, full):
            acc, l_i, m_i = _attend(
                acc, l_i, m_i, q_tile, k_far, v_far, k_row, v_row, start_m, tile * BLOCK_N,
                length, qk_scale, w_head, b_head,
                D, BLOCK_D, BLOCK_M, BLOCK_N, PRECISION, MASKED=False, LOGIT=False,
            )  # fmt: skip
    # Near tiles, and in the same loop the ragged tail: code of its own would cost registers.
    for i in tl.range(low, high + tail):
        tile = tl.where(i < high, i, full)
        acc, l_i, m_i = _attend(
            acc, l_i, m_i, q_tile, k_base, v_base, k_row, v_row, start_m, tile * BLOCK_N,
            length, qk_scale, w_head, b_head,
            D, BLOCK_D, BLOCK_M, BLOCK_N, PRECISION, MASKED=True, LOGIT=PRIOR == "logit",
        )  # fmt: skip

    if parts is None:
        acc = acc / l_i[:, None]
        if softmax_out is not None:
            store_rows(softmax_out, acc, start_m, length, limit, batch, head, first, H, T, D)
    else:
        store_part(parts, acc, splits)
        store_part_sums(part_sums, m_i, l_i, splits)
    if PRIOR == "additive":
        low, high = band_rows(start_m, length, radius, BLOCK_M)
        if parts is not None:
            if low >= high:
                return
            acc = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
        for start_n in tl.range(low, high, BLOCK_BAND):
            # [BLOCK_BAND, BLOCK_D]
            v_tile = load_rows(
                v_base, start_n, length, v_row, BLOCK_BAND, D, BLOCK_D, MASKED=True
            )  # fmt: skip
            prior, _, _ = prior_tile(start_m, start_n, w_head, b_head, BLOCK_M, BLOCK_BAND)
            # [BLOCK_M, BLOCK_D] += [BLOCK_M, BLOCK_BAND] x [BLOCK_BAND, BLOCK_D]
            acc = tl.dot(prior.to(v_tile.dtype), v_tile, acc, input_precision=PRECISION)
        if parts is not None:
            store_part(band_parts, acc, splits)
    if parts is None:
        store_rows(out, acc, start_m, length, limit, batch, head, first, H, T, D)
        lse_i = (m_i + tl.log2(l_i)) * LN_2
        store_sums(lse, lse_i, start_m, length, limit, batch, head, first, H, T)
