"""FlexAttention, by what it has to do: a peer that is taken to be as good as our own kernels.

Nothing of it is compiled here. Its loop over tiles is taken to be that of our kernel without a
prior, in the tiles that we ship, and its backward pass to be one launch that costs nothing more
than both halves. What it has to do beyond that is counted: it does not split the keys, it evaluates
the prior for every entry of every tile that it visits, and, since its softmax is normalised, it
adds a prior behind the softmax by a second pass over the tiles of the band
(`benchmarks.peers.flex_band`; the sum of both is not counted).
"""

from __future__ import annotations

from dataclasses import replace

from . import attention
from .attention import PRIOR_INSTRUCTIONS, SLOPE_INSTRUCTIONS, Call
from .band import Prior
from .chips import Chip
from .timing import Block, Kernel


def kernels(call: Call, chip: Chip) -> tuple[Kernel, ...]:
    """Return the launches of a call that computes what ours does, with its prior."""
    plain = replace(call, prior=Prior("none"), splits=1, one_launch=False, short=False)
    launches = _together(attention.kernels(plain, chip))
    if call.prior.kind == "none":
        return launches
    if call.prior.kind == "logit":
        return tuple(_scored(kernel, 1.0) for kernel in launches)
    share = _share(call)
    return (*launches, *(_scored(kernel, share) for kernel in launches))


def _together(launches: tuple[Kernel, ...]) -> tuple[Kernel, ...]:
    """Return the launches with both halves of the backward pass in one, as large as the smaller."""
    halves = [kernel for kernel in launches if kernel.name.startswith("backward_")]
    others = [kernel for kernel in launches if kernel not in halves]
    if not halves:
        return launches
    blocks = tuple(block for kernel in halves for block in kernel.blocks)
    least = {name: min(getattr(half, name) for half in halves)
             for name in ("threads", "registers", "shared")}  # fmt: skip
    return (*others, replace(halves[0], name="backward", blocks=blocks, **least))


def _scored(kernel: Kernel, share: float) -> Kernel:
    """Return a launch that visits a share of the tiles, and evaluates the prior for all of them."""
    issued = PRIOR_INSTRUCTIONS + (SLOPE_INSTRUCTIONS / 2 if kernel.name == "backward" else 0)
    blocks = tuple(
        Block(
            block.count,
            tensor=share * block.tensor,
            exponentials=share * 2 * block.exponentials,
            instructions=share * (block.instructions + block.exponentials / 32 * issued),
            l2_bytes=share * block.l2_bytes,
            trips=block.trips,
        )
        for block in kernel.blocks
    )
    return replace(kernel, blocks=blocks)


def _share(call: Call, tile: int = 128) -> float:
    """Return the share of all tiles that the band touches: those that a block mask keeps."""
    starts = range(0, call.T, tile)
    touched = 0
    for start in starts:
        low, high = call.prior.tiles(start, tile, tile, call.T)
        touched += high - low
    return touched / len(starts) ** 2
