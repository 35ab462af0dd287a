"""The forward pass for sm_90 with specialised warps, in Gluon: one group copies, two compute.

Gluon is the dialect of Triton in which layouts, barriers and warps are written out; Triton's own
pass for specialised warps refuses every attention kernel with a second loop on sm_90. Twelve warps
serve a tile of ``BLOCK_M`` queries: a group of four is the producer, whose elected thread has the
GPU's unit copy tiles of keys and values into two rings of ``STAGES`` tiles; two groups of four are
consumers of half of the queries each. They wait for one another at barriers in shared memory alone:
a tile of a ring has one that says "full" and one that says "empty". Turns are counted through all
loops, so the turn t is in stage t % STAGES, in round t // STAGES of its barriers.

The order of the keys, names and all formulas are those of `forward`; keys are never split.
"""

from types import FunctionType

from torch import Tensor
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
)
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from . import bags as _bags
from .band import band_radius, band_rows, near_tiles
from .descriptors import describe
from .tiles import LN_2, LOG2_E, NEVER_SPECIALIZED, sums_base

#: `bags.locate` by Gluon's functions, whose zeros are its own; all other scalars are the same.
_locate = gluon.jit(
    FunctionType(
        _bags.locate.fn.__code__, {**_bags.locate.fn.__globals__, "tl": gl}, _bags.locate.__name__
    )
)
#: Its name from Triton 3.9 on, and before.
_copy_tile = getattr(tma, "async_load", None) or tma.async_copy_global_to_shared


def describe_swizzled(x: Tensor, rows: int, columns: int) -> TensorDescriptor:
    """Return a descriptor as `descriptors.describe` does, with the layout that products read.

    Rows of 128 bytes at least, so ``columns`` is 64 or more.
    """
    plain = describe(x, rows, columns)
    layout = gl.NVMMASharedLayout(
        swizzle_byte_width=128, element_bitwidth=8 * x.element_size(), rank=len(plain.shape)
    )
    return TensorDescriptor(x, plain.shape, plain.strides, plain.block_shape, layout)


@gluon.jit
def _walk(bag, w, b, PRIOR: gl.constexpr, BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr):
    """Return which tiles of keys the program walks over, and the rows of its band.

    ``far`` turns over far tiles come first: those before the near ones, ``low``, then those behind
    them; then near tiles and the ragged tail, up to ``count`` turns. ``near`` is the number of near
    tiles, ``full`` that of all full tiles. A program without rows has no turns.
    """
    start_m, length, _, _, _, _ = bag
    rows = gl.where(start_m < length, length, 0)
    full = rows // BLOCK_N
    count = (rows + BLOCK_N - 1) // BLOCK_N
    low = full
    near = full - full
    band_low = near
    band_high = near
    if PRIOR != "none":
        radius = band_radius(w, b, rows)
        if PRIOR == "logit":
            low, high = near_tiles(start_m, rows, radius, BLOCK_M, BLOCK_N)
            near = high - low
        else:
            band_low, band_high = band_rows(start_m, rows, radius, BLOCK_M)
            # A program without rows has no band, wherever its first row lies.
            band_high = gl.where(rows > 0, band_high, band_low)
    return full - near, count, low, near, full, band_low, band_high


@gluon.jit
def _fetch(tiles, place, row, ring, turn, STAGES: gl.constexpr):
    """Copy the tile from ``row`` on into its stage of a ring, as soon as that is empty."""
    slots, full, empty = ring[0], ring[1], ring[2]
    batch, head, first = place
    stage = turn % STAGES
    # The first round of an "empty" barrier counts as over.
    mbarrier.wait(empty.index(stage), ((turn // STAGES) & 1) ^ 1)
    mbarrier.expect(full.index(stage), tiles.block_type.nbytes)
    _copy_tile(tiles, [batch, head, first + row, 0], full.index(stage), slots.index(stage))


@gluon.jit
def _produce(
    q_tiles, k_tiles, v_tiles, q, k_ring, v_ring, bag, walk,
    BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr, STAGES: gl.constexpr,
):  # fmt: skip
    """Copy the queries of both consumers, then keys and values in the order of their turns."""
    start_m, _, _, first, batch, head = bag
    far, count, low, near, full, band_low, band_high = walk
    slots, filled = q
    place = (batch, head, first)
    mbarrier.expect(filled, 2 * q_tiles.block_type.nbytes)
    for half in gl.static_range(2):
        row = first + start_m + half * (BLOCK_M // 2)
        _copy_tile(q_tiles, [batch, head, row, 0], filled, slots.index(half))
    for turn in range(count):
        behind = gl.where(turn < far, turn + near, gl.where(turn < full, turn - far + low, full))
        row = gl.where(turn < low, turn, behind) * BLOCK_N
        _fetch(k_tiles, place, row, k_ring, turn, STAGES)
        _fetch(v_tiles, place, row, v_ring, turn, STAGES)
    turn = count
    for row in range(band_low, band_high, BLOCK_N):
        _fetch(v_tiles, place, row, v_ring, turn, STAGES)
        turn += 1


@gluon.jit
def _prior(start_m, start_n, w, b, ROWS: gl.constexpr, COLUMNS: gl.constexpr, layout: gl.constexpr):
    """Return a tile of G, as `band.prior_tile` does: [ROWS, COLUMNS] in fp32."""
    row = (start_m - start_n + gl.arange(0, ROWS, gl.SliceLayout(1, layout))).to(gl.float32)
    column = gl.arange(0, COLUMNS, gl.SliceLayout(0, layout)).to(gl.float32)
    distance = row[:, None] - column[None, :]
    return gl.exp2(gl.abs(w * (distance * distance) + b) * -LOG2_E)


@gluon.jit
def _clear(values, start_n, length, cleared, times, HALF: gl.constexpr):
    """Set rows from ``length`` on to 0 in shared memory: padding may hold NaN, and 0 * NaN is NaN.

    Each consumer does it to every other 16 rows, and both wait at the barrier ``cleared``, where
    they have met ``times`` times. A whole tile at once would take registers that products have.
    """
    ROWS: gl.constexpr = 16
    ALL: gl.constexpr = values.shape[0]
    layout: gl.constexpr = gl.BlockedLayout([1, 8], [4, 8], [4, 1], [1, 0])
    row = gl.arange(0, ROWS, gl.SliceLayout(1, layout))
    for start in gl.static_range(HALF * ROWS, ALL, 2 * ROWS):
        if start_n + start + ROWS > length:
            # [ROWS, BLOCK_D]
            rows = values.slice(start, ROWS)
            inside = (row < length - start_n - start)[:, None]
            rows.store(gl.where(inside, rows.load(layout), 0.0).to(values.dtype))
    # Products read shared memory by another way than stores write it.
    fence_async_shared()
    mbarrier.arrive(cleared, count=1)
    mbarrier.wait(cleared, times & 1)


@gluon.jit
def _add_values(
    acc, p, v_ring, turn, start_n, length, times,
    HALF: gl.constexpr, STAGES: gl.constexpr, MASKED: gl.constexpr, ACC: gl.constexpr,
):  # fmt: skip
    """Return ``acc`` + ``p`` V for this turn's tile of values, which is free afterwards."""
    slots, full, empty, cleared = v_ring
    stage = turn % STAGES
    mbarrier.wait(full.index(stage), (turn // STAGES) & 1)
    # [BLOCK_N, BLOCK_D]
    values = slots.index(stage).reshape([p.shape[1], acc.shape[1]])
    if MASKED:  # noqa: SIM102 (known when the kernel is compiled, as the next one is not)
        # Both consumers see the same, so that either both clear or none.
        if start_n + p.shape[1] > length:
            _clear(values, start_n, length, cleared, times, HALF)
    weights = gl.convert_layout(p.to(values.dtype), gl.DotOperandLayout(0, ACC, 2))
    # [ROWS, BLOCK_D] += [ROWS, BLOCK_N] x [BLOCK_N, BLOCK_D]
    acc = warpgroup_mma(weights, values, acc)
    mbarrier.arrive(empty.index(stage), count=1)
    return acc


@gluon.jit
def _attend(
    acc, l_i, m_i, q, k_ring, v_ring, turn, start_m, start_n, length, qk_scale, w, b,
    HALF: gl.constexpr, BLOCK_N: gl.constexpr, STAGES: gl.constexpr,
    MASKED: gl.constexpr, LOGIT: gl.constexpr, LOGITS: gl.constexpr, ACC: gl.constexpr,
):  # fmt: skip
    """Take this turn's keys into the running softmax, as `forward` does."""
    ROWS: gl.constexpr = q.shape[0]
    slots, full, empty = k_ring
    stage = turn % STAGES
    mbarrier.wait(full.index(stage), (turn // STAGES) & 1)
    # [BLOCK_N, BLOCK_D]
    k = slots.index(stage).reshape([BLOCK_N, q.shape[1]])
    # [ROWS, BLOCK_N] = [ROWS, BLOCK_D] x [BLOCK_D, BLOCK_N]
    zeros = gl.full([ROWS, BLOCK_N], 0.0, gl.float32, LOGITS)
    qk = warpgroup_mma(q, k.permute([1, 0]), zeros, use_acc=False)
    mbarrier.arrive(empty.index(stage), count=1)
    if LOGIT:
        prior = _prior(start_m, start_n, w, b, ROWS, BLOCK_N, LOGITS)
        qk = qk * qk_scale + prior * LOG2_E
    elif MASKED:
        qk = qk * qk_scale
    if MASKED:
        inside = start_n + gl.arange(0, BLOCK_N, gl.SliceLayout(0, LOGITS)) < length
        qk = gl.where(inside[None, :], qk, -float("inf"))
    if LOGIT or MASKED:
        m_ij = gl.maximum(m_i, gl.max(qk, 1))
        p = gl.exp2(qk - m_ij[:, None])
    else:
        m_ij = gl.maximum(m_i, gl.max(qk, 1) * qk_scale)
        p = gl.exp2(qk * qk_scale - m_ij[:, None])
    alpha = gl.exp2(m_i - m_ij)
    l_i = l_i * alpha + gl.sum(p, 1)
    acc = acc * gl.convert_layout(alpha, gl.SliceLayout(1, ACC))[:, None]
    # The ragged tail is the first tile that is cleared, if there is one.
    acc = _add_values(acc, p, v_ring, turn, start_n, length, 0, HALF, STAGES, MASKED, ACC)
    return acc, l_i, m_ij


@gluon.jit
def _store_rows(result, tile, bag, H, T, D: gl.constexpr, ACC: gl.constexpr):
    """Store a tile as `tiles.store_rows` does."""
    start_m, length, limit, first, batch, head = bag
    row = gl.arange(0, tile.shape[0], gl.SliceLayout(1, ACC))
    column = gl.arange(0, tile.shape[1], gl.SliceLayout(0, ACC))
    base = result + ((batch.to(gl.int64) * T + first + start_m) * H + head) * D
    gl.store(
        base + row[:, None] * (H.to(gl.int64) * D) + column[None, :],
        gl.where((row < length - start_m)[:, None], tile, 0.0).to(result.dtype.element_ty),
        mask=(row < limit - start_m)[:, None] & (column < D)[None, :],
    )


@gluon.jit
def _consume(
    q, k_ring, v_ring, out, softmax_out, lse, bag, walk, qk_scale, w, b, H, T,
    HALF: gl.constexpr, D: gl.constexpr, BLOCK_D: gl.constexpr, PRIOR: gl.constexpr,
    ROWS: gl.constexpr, BLOCK_N: gl.constexpr, STAGES: gl.constexpr,
):  # fmt: skip
    """Fill ``ROWS`` rows of out and lse, and of softmax_out where it is given."""
    LOGITS: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_N, 16])
    ACC: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_D, 16])
    SUMS: gl.constexpr = gl.SliceLayout(1, LOGITS)
    start_m, length, limit, first, batch, head = bag
    far, count, low, _, full, band_low, band_high = walk
    start_m += HALF * ROWS
    acc = gl.full([ROWS, BLOCK_D], 0.0, gl.float32, ACC)
    l_i = gl.full([ROWS], 0.0, gl.float32, SUMS)
    m_i = gl.full([ROWS], -float("inf"), gl.float32, SUMS)
    slots, filled = q
    mbarrier.wait(filled, 0)
    # [ROWS, BLOCK_D]
    q_tile = slots.index(HALF).reshape([ROWS, BLOCK_D])
    for turn in range(far):
        acc, l_i, m_i = _attend(
            acc, l_i, m_i, q_tile, k_ring, v_ring, turn, start_m, 0, length, qk_scale, w, b,
            HALF, BLOCK_N, STAGES, MASKED=False, LOGIT=False, LOGITS=LOGITS, ACC=ACC,
        )  # fmt: skip
    for turn in range(far, count):
        start_n = gl.where(turn < full, turn - far + low, full) * BLOCK_N
        acc, l_i, m_i = _attend(
            acc, l_i, m_i, q_tile, k_ring, v_ring, turn, start_m, start_n, length, qk_scale, w, b,
            HALF, BLOCK_N, STAGES, MASKED=True, LOGIT=PRIOR == "logit", LOGITS=LOGITS, ACC=ACC,
        )  # fmt: skip

    own = (start_m, length, limit, first, batch, head)
    acc = acc / gl.convert_layout(l_i, gl.SliceLayout(1, ACC))[:, None]
    if softmax_out is not None:
        _store_rows(softmax_out, acc, own, H, T, D, ACC)
    if PRIOR == "additive":
        turn = count
        for start_n in range(band_low, band_high, BLOCK_N):
            prior = _prior(start_m, start_n, w, b, ROWS, BLOCK_N, LOGITS)
            acc = _add_values(
                acc,
                prior,
                v_ring,
                turn,
                start_n,
                length,
                count - full,
                HALF,
                STAGES,
                MASKED=True,
                ACC=ACC,
            )
            turn += 1
    _store_rows(out, acc, own, H, T, D, ACC)
    row = gl.arange(0, ROWS, SUMS)
    gl.store(
        sums_base(lse, batch, head, first, H, T) + start_m + row,
        gl.where(row < length - start_m, (m_i + gl.log2(l_i)) * LN_2, 0.0),
        mask=row < limit - start_m,
    )


@gluon.jit(do_not_specialize=NEVER_SPECIALIZED)
def attention_specialized_sm90(
    q_tiles, k_tiles, v_tiles, w, b, out, softmax_out, lse, lengths, cu_seqlens,
    scale: gl.float32, H: gl.int32, T: gl.int32, bags: gl.int32, tiles: gl.int32,
    D: gl.constexpr, BLOCK_D: gl.constexpr, PRIOR: gl.constexpr,
    BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr, STAGES: gl.constexpr,
):  # fmt: skip
    """Fill ``BLOCK_M`` rows of out and lse, and of softmax_out where it is given.

    ``q_tiles``, ``k_tiles`` and ``v_tiles`` are descriptors of (B, H, T, d) tensors, in tiles of
    ``BLOCK_M / 2`` rows of q and of ``BLOCK_N`` rows of k and v. Four warps launch it.
    """
    bag = _locate(lengths, cu_seqlens, H, T, bags, tiles, BLOCK_M)
    w_head = 0.0
    b_head = 0.0
    if PRIOR != "none":
        # scalars
        w_head = gl.load(w + bag[5])
        b_head = gl.load(b + bag[5])
    walk = _walk(bag, w_head, b_head, PRIOR, BLOCK_M, BLOCK_N)
    qk_scale = scale * LOG2_E

    dtype: gl.constexpr = k_tiles.dtype
    ROWS: gl.constexpr = BLOCK_M // 2
    q_slots = gl.allocate_shared_memory(dtype, [2, 1, 1, ROWS, BLOCK_D], q_tiles.layout)
    k_slots = gl.allocate_shared_memory(dtype, [STAGES, 1, 1, BLOCK_N, BLOCK_D], k_tiles.layout)
    v_slots = gl.allocate_shared_memory(dtype, [STAGES, 1, 1, BLOCK_N, BLOCK_D], v_tiles.layout)
    BARRIER: gl.constexpr = mbarrier.MBarrierLayout()
    q_full = gl.allocate_shared_memory(gl.int64, [1], BARRIER)
    k_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], BARRIER)
    k_empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], BARRIER)
    v_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], BARRIER)
    v_empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], BARRIER)
    cleared = gl.allocate_shared_memory(gl.int64, [1], BARRIER)
    mbarrier.init(q_full, count=1)
    mbarrier.init(cleared, count=2)
    for stage in gl.static_range(STAGES):
        # The producer fills a stage, both consumers have to leave it.
        mbarrier.init(k_full.index(stage), count=1)
        mbarrier.init(v_full.index(stage), count=1)
        mbarrier.init(k_empty.index(stage), count=2)
        mbarrier.init(v_empty.index(stage), count=2)
    q = (q_slots, q_full)
    k_ring = (k_slots, k_full, k_empty)
    v_ring = (v_slots, v_full, v_empty, cleared)
    # The first is computed by the warps of the launch; the others get warps and registers below.
    gl.warp_specialize(
        [
            (_consume, (
                q, k_ring, v_ring, out, softmax_out, lse, bag, walk, qk_scale, w_head, b_head,
                H, T, 0, D, BLOCK_D, PRIOR, ROWS, BLOCK_N, STAGES,
            )),
            (_consume, (
                q, k_ring, v_ring, out, softmax_out, lse, bag, walk, qk_scale, w_head, b_head,
                H, T, 1, D, BLOCK_D, PRIOR, ROWS, BLOCK_N, STAGES,
            )),
            (_produce, (
                q_tiles, k_tiles, v_tiles, q, k_ring, v_ring, bag, walk, BLOCK_M, BLOCK_N, STAGES,
            )),
        ],
        [4, 4],
        [240, 24],
    )  # fmt: skip
