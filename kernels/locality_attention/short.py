"""The forward pass of short bags: a program holds the logits of all keys of its queries.

So the softmax is exact at once, without a running maximum, and the additive prior's G is added to
the weights in registers: O = (P / l + G) V is one product, where `forward` has a banded one behind
its loop. Only in training, which needs A = softmax(S) V too, the banded product stays.

How many keys there are at most is a constant of the compiled kernel. They are taken in up to three
tiles, since the sizes of tiles are powers of two: 208 keys are 128 + 64 + 16.
"""

import triton
import triton.language as tl

from .bags import locate
from .band import band_radius, band_rows, prior_tile
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
def _logits(
    q, k, start_m, start_n, length, qk_scale, w, b,
    PRECISION: tl.constexpr, LOGIT: tl.constexpr,
):  # fmt: skip
    """Return the logits of a tile of keys from ``start_n`` on, in base 2; -inf beyond the bag."""
    # [BLOCK_M, KEYS] = [BLOCK_M, BLOCK_D] x [BLOCK_D, KEYS]
    qk = tl.dot(q, tl.trans(k), input_precision=PRECISION) * qk_scale
    if LOGIT:
        prior, _, _ = prior_tile(start_m, start_n, w, b, q.shape[0], k.shape[0])
        qk += prior * LOG2_E
    inside = start_n + tl.arange(0, k.shape[0]) < length
    return tl.where(inside[None, :], qk, -float("inf"))


@triton.jit
def _weights(p, share, start_m, start_n, w, b, dtype: tl.constexpr, ADDITIVE: tl.constexpr):
    """Return the weights of a tile of keys as a product takes them; ``ADDITIVE``: with G."""
    if ADDITIVE:
        # Beyond the bag G is no 0, but the rows of v are.
        prior, _, _ = prior_tile(start_m, start_n, w, b, p.shape[0], p.shape[1])
        p = p * share[:, None] + prior
    return p.to(dtype)


@triton.jit(do_not_specialize=NEVER_SPECIALIZED)
def attention_short(
    q, k, v, w, b, out, softmax_out, lse, lengths, cu_seqlens,
    q_batch: tl.int64, q_head: tl.int64, q_row: tl.int64,
    k_batch: tl.int64, k_head: tl.int64, k_row: tl.int64,
    v_batch: tl.int64, v_head: tl.int64, v_row: tl.int64,
    scale: tl.float32, H: tl.int32, T: tl.int32, bags: tl.int32, tiles: tl.int32,
    D: tl.constexpr, BLOCK_D: tl.constexpr, UNIT: tl.constexpr,
    PRIOR: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_BAND: tl.constexpr,
    FIRST: tl.constexpr, SECOND: tl.constexpr, THIRD: tl.constexpr,
):  # fmt: skip
    """Fill ``BLOCK_M`` rows of out and lse, and of softmax_out where it is given.

    A bag has at most ``FIRST + SECOND + THIRD`` keys; the last two may be 0.
    """
    start_m, length, limit, first, batch, head = locate(
        lengths, cu_seqlens, H, T, bags, tiles, BLOCK_M
    )
    acc = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    if start_m >= length:
        store_rows(out, acc, start_m, length, limit, batch, head, first, H, T, D)
        zeros = tl.zeros((BLOCK_M,), tl.float32)
        store_sums(lse, zeros, start_m, length, limit, batch, head, first, H, T)
        if softmax_out is not None:
            store_rows(softmax_out, acc, start_m, length, limit, batch, head, first, H, T, D)
        return

    LOGIT: tl.constexpr = PRIOR == "logit"
    #: Whether G is added to the weights; else, additive, its product is one of its own.
    AT_ONCE: tl.constexpr = PRIOR == "additive" and softmax_out is None
    BOTH: tl.constexpr = FIRST + SECOND
    q_base = input_base(q, batch, head, first, q_batch, q_head, q_row, UNIT)
    k_base = input_base(k, batch, head, first, k_batch, k_head, k_row, UNIT)
    v_base = input_base(v, batch, head, first, v_batch, v_head, v_row, UNIT)
    k_row *= UNIT
    v_row *= UNIT
    qk_scale = scale * LOG2_E
    w_head = 0.0
    b_head = 0.0
    if PRIOR != "none":
        # scalars
        w_head = tl.load(w + head)
        b_head = tl.load(b + head)

    # All loads first: what is loaded behind a product waits for it. [rows, BLOCK_D] each
    q_tile = load_rows(q_base, start_m, length, q_row * UNIT, BLOCK_M, D, BLOCK_D, MASKED=True)
    k_1 = load_rows(k_base, 0, length, k_row, FIRST, D, BLOCK_D, MASKED=True)
    if SECOND > 0:
        k_2 = load_rows(k_base, FIRST, length, k_row, SECOND, D, BLOCK_D, MASKED=True)
    if THIRD > 0:
        k_3 = load_rows(k_base, BOTH, length, k_row, THIRD, D, BLOCK_D, MASKED=True)
    # [BLOCK_M, keys] each
    p_1 = _logits(q_tile, k_1, start_m, 0, length, qk_scale, w_head, b_head, PRECISION, LOGIT)
    m_i = tl.max(p_1, 1)
    if SECOND > 0:
        p_2 = _logits(
            q_tile, k_2, start_m, FIRST, length, qk_scale, w_head, b_head, PRECISION, LOGIT
        )
        m_i = tl.maximum(m_i, tl.max(p_2, 1))
    if THIRD > 0:
        p_3 = _logits(
            q_tile, k_3, start_m, BOTH, length, qk_scale, w_head, b_head, PRECISION, LOGIT
        )
        m_i = tl.maximum(m_i, tl.max(p_3, 1))
    p_1 = tl.exp2(p_1 - m_i[:, None])
    l_i = tl.sum(p_1, 1)
    if SECOND > 0:
        p_2 = tl.exp2(p_2 - m_i[:, None])
        l_i += tl.sum(p_2, 1)
    if THIRD > 0:
        p_3 = tl.exp2(p_3 - m_i[:, None])
        l_i += tl.sum(p_3, 1)

    share = 1.0 / l_i
    dtype: tl.constexpr = q_tile.dtype
    a_1 = _weights(p_1, share, start_m, 0, w_head, b_head, dtype, AT_ONCE)
    if SECOND > 0:
        a_2 = _weights(p_2, share, start_m, FIRST, w_head, b_head, dtype, AT_ONCE)
    if THIRD > 0:
        a_3 = _weights(p_3, share, start_m, BOTH, w_head, b_head, dtype, AT_ONCE)
    # [keys, BLOCK_D] each
    v_1 = load_rows(v_base, 0, length, v_row, FIRST, D, BLOCK_D, MASKED=True)
    if SECOND > 0:
        v_2 = load_rows(v_base, FIRST, length, v_row, SECOND, D, BLOCK_D, MASKED=True)
    if THIRD > 0:
        v_3 = load_rows(v_base, BOTH, length, v_row, THIRD, D, BLOCK_D, MASKED=True)
    # [BLOCK_M, BLOCK_D] += [BLOCK_M, keys] x [keys, BLOCK_D]
    acc = tl.dot(a_1, v_1, acc, input_precision=PRECISION)
    if SECOND > 0:
        acc = tl.dot(a_2, v_2, acc, input_precision=PRECISION)
    if THIRD > 0:
        acc = tl.dot(a_3, v_3, acc, input_precision=PRECISION)
    if not AT_ONCE:
        acc = acc / l_i[:, None]
    if softmax_out is not None:
        store_rows(softmax_out, acc, start_m, length, limit, batch, head, first, H, T, D)
    if PRIOR == "additive" and not AT_ONCE:
        low, high = band_rows(start_m, length, band_radius(w_head, b_head, length), BLOCK_M)
        for start_n in tl.range(low, high, BLOCK_BAND):
            # [BLOCK_BAND, BLOCK_D]
            v_tile = load_rows(
                v_base, start_n, length, v_row, BLOCK_BAND, D, BLOCK_D, MASKED=True
            )  # fmt: skip
            prior, _, _ = prior_tile(start_m, start_n, w_head, b_head, BLOCK_M, BLOCK_BAND)
            # [BLOCK_M, BLOCK_D] += [BLOCK_M, BLOCK_BAND] x [BLOCK_BAND, BLOCK_D]
            acc = tl.dot(prior.to(dtype), v_tile, acc, input_precision=PRECISION)
    store_rows(out, acc, start_m, length, limit, batch, head, first, H, T, D)
    lse_i = (m_i + tl.log2(l_i)) * LN_2
    store_sums(lse, lse_i, start_m, length, limit, batch, head, first, H, T)
