"""Split keys: several programs share the keys of a row tile, and another kernel joins their parts.

The forward pass is planned so where there are fewer row tiles than multiprocessors (`plan`). What a
program found of its keys is its part: the running maximum, sum and output of each query's softmax,
unfinished, and with the additive prior the share of the band in its keys. Parts lie in workspaces
by program, in tiles of [BLOCK_M, BLOCK_D].
"""

import triton
import triton.language as tl

from .bags import locate
from .band import band_radius, band_rows
from .tiles import LN_2, NEVER_SPECIALIZED, store_rows, store_sums


@triton.jit
def tiles_per_split(length, splits, BLOCK_N: tl.constexpr):
    """Return how many tiles of keys a split of this bag has; the last one may have fewer.

    A bag with fewer tiles than ``splits`` has splits without keys, behind all others.
    """
    return tl.cdiv(tl.cdiv(length, BLOCK_N), splits)


@triton.jit
def own_keys(length, splits, BLOCK_N: tl.constexpr):
    """Return which keys of its bag belong to this program's split.

    Returns
    -------
    begin : int32
        The first one.
    keys : int32
        How many; 0 or less in a split without keys.
    full : int32
        How many full tiles. It is not computed from ``keys``: only so the compiler sees that row
        numbers within do not overflow, and increments addresses instead of multiplying.
    """
    per_split = tiles_per_split(length, splits, BLOCK_N)
    begin = tl.program_id(1) * per_split * BLOCK_N
    rest = length - begin
    return begin, tl.minimum(rest, per_split * BLOCK_N), tl.minimum(rest // BLOCK_N, per_split)


@triton.jit
def _part(splits, split):
    """Return the number of the part of this row tile and a split, in 64 bits."""
    return tl.program_id(0).to(tl.int64) * splits + split


@triton.jit
def store_part(parts, tile, splits):
    """Store a [BLOCK_M, BLOCK_D] tile of this program's part."""
    ROWS: tl.constexpr = tile.shape[0]
    COLUMNS: tl.constexpr = tile.shape[1]
    base = parts + _part(splits, tl.program_id(1)) * (ROWS * COLUMNS)
    row = tl.arange(0, ROWS)
    column = tl.arange(0, COLUMNS)
    tl.store(base + row[:, None] * COLUMNS + column[None, :], tile)


@triton.jit
def store_part_sums(part_sums, m_i, l_i, splits):
    """Store the running maximum and sum of this program's part, [2, BLOCK_M]."""
    ROWS: tl.constexpr = m_i.shape[0]
    base = part_sums + _part(splits, tl.program_id(1)) * (2 * ROWS)
    row = tl.arange(0, ROWS)
    tl.store(base + row, m_i)
    tl.store(base + ROWS + row, l_i)


@triton.jit(do_not_specialize=NEVER_SPECIALIZED)
def attention_combine(
    w, b, parts, part_sums, band_parts, out, softmax_out, lse, lengths, cu_seqlens,
    H: tl.int32, T: tl.int32, bags: tl.int32, tiles: tl.int32, splits: tl.int32,
    D: tl.constexpr, BLOCK_D: tl.constexpr, PRIOR: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Fill ``ROWS`` rows of out and lse, and of softmax_out where it is given, from the parts.

    ``BLOCK_M`` and ``BLOCK_N`` are those that the parts were made with. Parts are added in the
    order of their keys.
    """
    tile_start, length, limit, first, batch, head = locate(
        lengths, cu_seqlens, H, T, bags, tiles, BLOCK_M
    )
    offset = tl.program_id(1) * ROWS
    start_m = tile_start + offset
    acc = tl.zeros((ROWS, BLOCK_D), tl.float32)
    l_i = tl.zeros((ROWS,), tl.float32)
    if start_m >= length:
        store_rows(out, acc, start_m, length, limit, batch, head, first, H, T, D)
        store_sums(lse, l_i, start_m, length, limit, batch, head, first, H, T)
        if softmax_out is not None:
            store_rows(softmax_out, acc, start_m, length, limit, batch, head, first, H, T, D)
        return

    per_split = tiles_per_split(length, splits, BLOCK_N)
    filled = tl.cdiv(tl.cdiv(length, BLOCK_N), per_split)  # splits with keys
    row = offset + tl.arange(0, ROWS)
    sums_at = part_sums + _part(splits, 0) * (2 * BLOCK_M) + row
    # [ROWS, BLOCK_D]
    tile_at = row[:, None] * BLOCK_D + tl.arange(0, BLOCK_D)[None, :]
    tile_at += _part(splits, 0) * (BLOCK_M * BLOCK_D)

    # The maximum first, so that every part is scaled once.
    m_i = tl.full((ROWS,), -float("inf"), tl.float32)
    for split in tl.range(0, filled):
        # [ROWS]
        m_i = tl.maximum(m_i, tl.load(sums_at + split * (2 * BLOCK_M)))
    for split in tl.range(0, filled, num_stages=3):
        # [ROWS] each
        m_part = tl.load(sums_at + split * (2 * BLOCK_M))
        l_part = tl.load(sums_at + split * (2 * BLOCK_M) + BLOCK_M)
        # [ROWS, BLOCK_D]
        part = tl.load(parts + tile_at + split * (BLOCK_M * BLOCK_D))
        factor = tl.exp2(m_part - m_i)
        l_i += l_part * factor
        acc += part * factor[:, None]
    acc = acc / l_i[:, None]
    if softmax_out is not None:
        store_rows(softmax_out, acc, start_m, length, limit, batch, head, first, H, T, D)
    if PRIOR == "additive":
        # scalars
        radius = band_radius(tl.load(w + head), tl.load(b + head), length)
        # Only the splits whose keys the band of the whole tile reaches have stored a share of it.
        low, high = band_rows(tile_start, length, radius, BLOCK_M)
        keys = per_split * BLOCK_N
        band_end = tl.where(low < high, tl.cdiv(high, keys), 0)
        for split in tl.range(low // keys, band_end, num_stages=3):
            # [ROWS, BLOCK_D]
            acc += tl.load(band_parts + tile_at + split * (BLOCK_M * BLOCK_D))
    store_rows(out, acc, start_m, length, limit, batch, head, first, H, T, D)
    lse_i = (m_i + tl.log2(l_i)) * LN_2
    store_sums(lse, lse_i, start_m, length, limit, batch, head, first, H, T)
