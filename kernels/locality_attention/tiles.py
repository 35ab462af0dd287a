"""Loads and stores of tiles of rows, and the list of parameters that never specialise a kernel.

Every address is computed in 64 bits. A head size D that is no power of two is padded to BLOCK_D by
masks at each load and store, so no copy of the inputs is made.
"""

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)

#: Sizes and strides of all kernels; no value of them makes Triton compile a kernel again. Strides
#: are passed in units of ``UNIT`` elements, which is a constant: it tells the compiler how the
#: addresses are aligned.
NEVER_SPECIALIZED = (
    *(f"{x}_{axis}" for x in ("q", "k", "v", "grad_out", "attended")
      for axis in ("batch", "head", "row")),
    "scale", "H", "T", "bags", "tiles", "splits",
)  # fmt: skip


@triton.jit
def input_base(
    tensor, batch, head, first, batch_stride, head_stride, row_stride, UNIT: tl.constexpr
):
    """Return the address of a bag's first row in a strided (B, H, T, d) input."""
    offset = batch.to(tl.int64) * batch_stride + head.to(tl.int64) * head_stride
    return tensor + (offset + first.to(tl.int64) * row_stride) * UNIT


@triton.jit
def sums_base(tensor, batch, head, first, H, T):
    """Return the address of a bag's first entry in lse or delta, (B, H, T)."""
    return tensor + (batch.to(tl.int64) * H + head) * T + first


@triton.jit
def load_rows(
    base, start, length, row_stride,
    ROWS: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """Load rows ``start .. start + ROWS - 1`` as [ROWS, BLOCK_D].

    With ``MASKED`` rows from ``length`` on are not read but set to 0: padding may hold NaN, and
    0 * NaN would be NaN.
    """
    row = start + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK_D)
    # [ROWS, BLOCK_D], as every load below
    address = base + row[:, None].to(tl.int64) * row_stride + column[None, :]
    if MASKED and D < BLOCK_D:
        return tl.load(address, mask=(row < length)[:, None] & (column < D)[None, :], other=0.0)
    if MASKED:
        return tl.load(address, mask=(row < length)[:, None], other=0.0)
    if D < BLOCK_D:
        return tl.load(address, mask=(column < D)[None, :], other=0.0)
    return tl.load(address)


@triton.jit
def store_rows(result, tile, start, length, limit, batch, head, first, H, T, D: tl.constexpr):
    """Store a tile of a bag's rows below ``limit``; those from ``length`` on are stored as 0.

    Results lie (B, T, H, d) in memory without gaps. Rows are counted from the tile's first one:
    row numbers shared with an earlier load would stay in registers over all loops in between.
    """
    row = tl.arange(0, tile.shape[0])
    column = tl.arange(0, tile.shape[1])
    base = result + ((batch.to(tl.int64) * T + first + start) * H + head) * D
    tl.store(
        base + row[:, None] * (H.to(tl.int64) * D) + column[None, :],
        tl.where((row < length - start)[:, None], tile, 0.0).to(result.dtype.element_ty),
        mask=(row < limit - start)[:, None] & (column < D)[None, :],
    )


@triton.jit
def store_sums(sums, values, start, length, limit, batch, head, first, H, T):
    """Store one value per row to lse or delta, with the masks of `store_rows`."""
    row = tl.arange(0, values.shape[0])
    base = sums_base(sums, batch, head, first, H, T) + start
    tl.store(base + row, tl.where(row < length - start, values, 0.0), mask=row < limit - start)
