"""Tensor descriptors: far tiles of keys and values that one thread has copied.

From sm_90 on a GPU has a unit (TMA) that copies a tile to shared memory by itself: from a
descriptor, which says where a tensor lies, and the numbers of the tile's first row. The far loop
then computes no addresses. Only far tiles are copied so: they lie inside of their bag. Near tiles
and the ragged tail, whose rows may belong to the next bag or to padding, are loaded under masks.

Descriptors are made on the host, one for k and one for v, and are passed as arguments. Made on the
device, each program would write its own to memory and wait for it, and Triton would ask for that
memory from an allocator that is set for a whole process and belongs to the user.
"""

from __future__ import annotations

import triton
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

#: What the unit wants addresses and strides to be multiples of, in bytes; strides are less than
#: `_STRIDES`.
ALIGNMENT = 16
_STRIDES = 2**40


def describable(*tensors: Tensor) -> bool:
    """Return whether there is a descriptor for each tensor, (B, H, T, d) with entries.

    Addresses and strides are multiples of 16 bytes, the last stride is 1, and no row overlaps
    another, as those of expanded tensors do.
    """
    return all(
        x.numel() > 0
        and x.data_ptr() % ALIGNMENT == 0
        and (x.stride(-1) == 1 or x.shape[-1] == 1)
        and all(
            x.shape[-1] <= stride < _STRIDES // x.element_size()
            and stride * x.element_size() % ALIGNMENT == 0
            for stride in _strides(x)
        )
        for x in tensors
    )


def describe(x: Tensor, rows: int, columns: int) -> TensorDescriptor:
    """Return the descriptor of a (B, H, T, d) tensor in tiles of ``rows`` rows.

    ``columns`` is d, padded to a power of two: the unit fills columns from d on with 0.

    Raises
    ------
    ValueError
        If the tensor is not `describable`.
    """
    if not describable(x):
        raise ValueError(
            f"no descriptor for a tensor of shape {tuple(x.shape)}, strides {x.stride()} and "
            f"{x.dtype} at {x.data_ptr():#x}: its address and strides must be multiples of "
            f"{ALIGNMENT} bytes, rows must not overlap and the last stride must be 1. Choose a "
            "configuration without descriptors"
        )
    return TensorDescriptor(x, list(x.shape), [*_strides(x), 1], [1, 1, rows, columns])


def _strides(x: Tensor) -> list[int]:
    """Return all strides but the last; that of an axis with one entry means nothing."""
    least = triton.cdiv(x.shape[-1] * x.element_size(), ALIGNMENT) * ALIGNMENT // x.element_size()
    return [least if x.shape[i] == 1 else x.stride(i) for i in range(3)]


@triton.jit
def load_tile(place, start):
    """Load rows of a bag, from ``start`` on, as [ROWS, BLOCK_D].

    ``place`` is the descriptor of a (B, H, T, d) tensor, the batch entry, the head, and the bag's
    first row along T.
    """
    # [1, 1, ROWS, BLOCK_D]
    tile = place[0].load([place[1], place[2], place[3] + start, 0])
    return tile.reshape(tile.shape[2], tile.shape[3])
