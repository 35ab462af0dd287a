"""FlexAttention, by its own compiled kernels and what it has to do.

Its loops, registers and shared memory are those of the kernels that PyTorch 2.13 makes for a head
size of 128, in its default tiles (`benchmarks.resources.flex`). It does not split keys; its
backward pass is one launch behind the row sums <dO, O>; and, since its softmax is normalised, it
adds a prior behind the softmax by a second pass over the tiles of the band
(`benchmarks.peers.flex_band`). Not counted: the gradients of w and b, which it adds up atomically,
entry by entry; the sum of both passes and what rescales the second; and its table of blocks.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

from ...resources import flex
from ...resources.flex import Row, Tiles
from .attention import PRECISIONS, Call
from .chips import Chip
from .timing import Block, Kernel

_TILE = 128  # rows and columns of the block mask's blocks


@functools.cache
def _rows() -> dict[str, Row]:
    return flex.read()


def kernels(call: Call, chip: Chip) -> tuple[Kernel, ...]:
    """Return the launches of a call that computes what ours does, with its prior."""
    if call.d != 128:
        raise ValueError(f"FlexAttention's kernels were compiled for d = 128; got {call.d}")
    kinds = {"additive": ("none", "band")}.get(call.prior.kind, (call.prior.kind,))
    return tuple(kernel for kind in kinds for kernel in _launches(call, chip, kind))


def _launches(call: Call, chip: Chip, kind: str) -> Iterator[Kernel]:
    values = float(call.B * call.H * call.T * call.d * call.dtype.itemsize)
    sums = 4.0 * call.B * call.H * call.T
    yield _kernel(call, chip, kind, backward=False, moved=4 * values + sums)
    if call.backward:
        # Row sums: of PyTorch's own, which read O and dO.
        rows = call.B * call.H * call.T
        yield Kernel(
            "delta", "", PRECISIONS[call.dtype], 128, 32, 0, 2 * values + sums,
            (Block(math.ceil(rows / 4), instructions=4 * call.d / 32 * 3),),
        )  # fmt: skip
        yield _kernel(call, chip, kind, backward=True, moved=7 * values + 2 * sums)


def _kernel(call: Call, chip: Chip, kind: str, *, backward: bool, moved: float) -> Kernel:
    precision = PRECISIONS[call.dtype]
    tiles = flex.tiles_of(chip.architecture, precision, backward)
    variant = flex.Variant(chip.architecture, precision, kind, backward, call.T % _TILE == 0)
    row = _rows()[variant.name]
    if backward:
        M1, N1, M2, N2 = tiles.rows
        keys = _blocks(call, kind, tiles, N1, M1, 4, row.loops[0])
        queries = _blocks(call, kind, tiles, M2, N2, 3, row.loops[1])
        blocks = (*keys, *queries)
    else:
        M, N = tiles.rows
        blocks = tuple(_blocks(call, kind, tiles, M, N, 2, row.loops[0]))
    if precision == "fp32":  # no tensor cores: its products are among the instructions
        blocks = tuple(Block(b.count, 0.0, b.exponentials, b.instructions, b.l2_bytes)
                       for b in blocks)  # fmt: skip
    return Kernel(
        "backward" if backward else "forward", "x".join(map(str, tiles.rows)), precision,
        32 * tiles.warps, row.registers, row.shared, moved, blocks,
    )  # fmt: skip


def _blocks(
    call: Call, kind: str, tiles: Tiles, owned: int, step: int, products: int, issued: int
) -> Iterator[Block]:
    """Yield the blocks that own some rows and walk over the others, or over those of the band."""
    for start in range(0, call.T, owned):
        turns = math.ceil(call.T / step)
        if kind == "band":
            turns = _near_blocks(call, start // _TILE) * (_TILE // step)
        entries = owned * step
        # Of the softmax, and of the prior where it is computed; forward a row's rescaling, too.
        exponentials = entries * (2 if kind == "logit" else 1) + (owned if products == 2 else 0)
        yield Block(
            call.B * call.H,
            tensor=2.0 * owned * call.d * products * step * turns,
            exponentials=float(exponentials * turns),
            instructions=float(turns * issued * tiles.warps),
            l2_bytes=2.0 * call.d * call.dtype.itemsize * step * turns,
        )


def _near_blocks(call: Call, block: int) -> int:
    """Return how many blocks of `benchmarks.peers.flex_band_mask` are near one."""
    far = math.ceil(call.prior.radius(call.T) / _TILE)
    last = math.ceil(call.T / _TILE) - 1
    return min(block + far, last) - max(block - far, 0) + 1
