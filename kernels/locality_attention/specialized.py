"""The forward pass with specialised warps, for GPUs with tensor memory (sm_100, sm_110).

In the far loop some warps copy tiles, one starts products, some compute the softmax and some
rescale the sum. Triton's compiler parts them (``warp_specialize``); in the interpreter and without
it the loop is an ordinary one. Two things differ from `forward`, and keys are never split:

- The near tiles and the ragged tail come first: with their loop behind the specialised one the
  compiler refuses. So keys are added in another order, and results differ by roundings.
- Far tiles before and behind the near ones go through one loop, whose turns skip the near ones: the
  warp that copies computes which tile it is, and has the time.
"""

import triton
import triton.language as tl

from .bags import locate
from .band import band_radius, band_rows, near_tiles, prior_tile
from .descriptors import load_tile
from .forward import _attend
from .tiles import (
    LN_2,
    LOG2_E,
    NEVER_SPECIALIZED,
    input_base,
    load_rows,
    store_rows,
    store_sums,
)


@triton.jit(do_not_specialize=NEVER_SPECIALIZED)
def attention_specialized(
    q_tiles, k_tiles, v_tiles, k, v, w, b, out, softmax_out, lse, lengths, cu_seqlens,
    k_batch: tl.int64, k_head: tl.int64, k_row: tl.int64,
    v_batch: tl.int64, v_head: tl.int64, v_row: tl.int64,
    scale: tl.float32, H: tl.int32, T: tl.int32, bags: tl.int32, tiles: tl.int32,
    D: tl.constexpr, BLOCK_D: tl.constexpr, UNIT: tl.constexpr,
    PRIOR: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_BAND: tl.constexpr,
):  # fmt: skip
    """Fill ``BLOCK_M`` rows of out and lse, and of softmax_out where it is given.

    ``q_tiles``, ``k_tiles`` and ``v_tiles`` are descriptors; k and v are near tiles' own way.
    """
    start_m, length, limit, first, batch, head = locate(
        lengths, cu_seqlens, H, T, bags, tiles, BLOCK_M
    )
    # No early return, which the compiler refuses as well: a program without rows has no turns.
    rows = tl.where(start_m < length, length, 0)
    full = rows // BLOCK_N
    tail = (rows + BLOCK_N - 1) // BLOCK_N - full  # 0 or 1
    k_base = input_base(k, batch, head, first, k_batch, k_head, k_row, UNIT)
    v_base = input_base(v, batch, head, first, v_batch, v_head, v_row, UNIT)
    k_row *= UNIT
    v_row *= UNIT
    qk_scale = scale * LOG2_E
    # [BLOCK_M, BLOCK_D]; rows beyond the bag are another's, and are not stored
    q_tile = load_tile((q_tiles, batch, head, first), start_m)

    w_head = 0.0
    b_head = 0.0
    low = full
    high = full
    if PRIOR == "logit":
        # scalars
        w_head = tl.load(w + head)
        b_head = tl.load(b + head)
        radius = band_radius(w_head, b_head, rows)
        low, high = near_tiles(start_m, rows, radius, BLOCK_M, BLOCK_N)

    acc = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    l_i = tl.zeros((BLOCK_M,), tl.float32)
    m_i = tl.full((BLOCK_M,), -float("inf"), tl.float32)
    for i in tl.range(low, high + tail):
        tile = tl.where(i < high, i, full)
        acc, l_i, m_i = _attend(
            acc, l_i, m_i, q_tile, k_base, v_base, k_row, v_row, start_m, tile * BLOCK_N,
            length, qk_scale, w_head, b_head,
            D, BLOCK_D, BLOCK_M, BLOCK_N, PRECISION, MASKED=True, LOGIT=PRIOR == "logit",
        )  # fmt: skip
    near = high - low
    k_far = (k_tiles, batch, head, first)
    v_far = (v_tiles, batch, head, first)
    for i in tl.range(0, full - near, warp_specialize=True):
        tile = i
        if PRIOR == "logit":
            tile = tl.where(i < low, i, i + near)
        acc, l_i, m_i = _attend(
            acc, l_i, m_i, q_tile, k_far, v_far, k_row, v_row, start_m, tile * BLOCK_N,
            length, qk_scale, w_head, b_head,
            D, BLOCK_D, BLOCK_M, BLOCK_N, PRECISION, MASKED=False, LOGIT=False,
        )  # fmt: skip

    acc = acc / l_i[:, None]
    if softmax_out is not None:
        store_rows(softmax_out, acc, start_m, length, limit, batch, head, first, H, T, D)
    if PRIOR == "additive":
        # scalars; read behind the loop, over which they would cost registers
        w_head = tl.load(w + head)
        b_head = tl.load(b + head)
        radius = band_radius(w_head, b_head, rows)
        low, high = band_rows(start_m, rows, radius, BLOCK_M)
        # Else, without rows, it would begin behind the last one.
        high = tl.where(rows > 0, high, low)
        # Tiles that are under way to it would cost registers that d > 64 does not leave.
        STAGES: tl.constexpr = None if BLOCK_D <= 64 else 1
        for start_n in tl.range(low, high, BLOCK_BAND, num_stages=STAGES):
            # [BLOCK_BAND, BLOCK_D]
            v_tile = load_rows(
                v_base, start_n, length, v_row, BLOCK_BAND, D, BLOCK_D, MASKED=True
            )  # fmt: skip
            prior, _, _ = prior_tile(start_m, start_n, w_head, b_head, BLOCK_M, BLOCK_BAND)
            # [BLOCK_M, BLOCK_D] += [BLOCK_M, BLOCK_BAND] x [BLOCK_BAND, BLOCK_D]
            acc = tl.dot(prior.to(v_tile.dtype), v_tile, acc, input_precision=PRECISION)
    store_rows(out, acc, start_m, length, limit, batch, head, first, H, T, D)
    lse_i = (m_i + tl.log2(l_i)) * LN_2
    store_sums(lse, lse_i, start_m, length, limit, batch, head, first, H, T)
