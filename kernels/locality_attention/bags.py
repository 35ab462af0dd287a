"""Which rows a program owns: dense batches, padded ones with lengths, bags packed end to end."""

import triton
import triton.language as tl


@triton.jit
def locate(lengths, cu_seqlens, H, T, bags, tiles, BLOCK: tl.constexpr):
    """Find the bag, the head and the rows of this program.

    The grid has one axis of batches x heads x ``tiles`` programs. The host does not know how long
    packed bags are, since their lengths are on the device. So bag n gets the tiles from number
    ``cu_seqlens[n] // BLOCK + n`` on: always enough of them, and their number for all bags together
    is ``tiles = T // BLOCK + bags``, known from shapes. A program finds its bag by bisection; a
    program without rows has ``start >= length``.

    lengths and cu_seqlens are clamped into the tensor: wrong values make a wrong result, but never
    an access outside of it.

    Returns
    -------
    start : int32
        The program's first row, counted from the first row of its bag.
    length, limit : int32
        Rows of the bag; rows of the bag with its padding, which the program stores as 0.
    first, batch, head : int32
        The bag's first row along T, its batch entry and the head.
    """
    program = tl.program_id(0)
    tile = program % tiles
    head = program // tiles
    batch = tl.zeros((), tl.int32)
    first = tl.zeros((), tl.int32)
    if cu_seqlens is not None:
        low = 0
        high = bags - 1
        while low < high:
            middle = (low + high + 1) // 2
            # a scalar, as every load here
            begins = tl.load(cu_seqlens + middle) // BLOCK + middle
            low = tl.where(begins <= tile, middle, low)
            high = tl.where(begins <= tile, high, middle - 1)
        first = tl.minimum(tl.maximum(tl.load(cu_seqlens + low), 0), T).to(tl.int32)
        end = tl.minimum(tl.maximum(tl.load(cu_seqlens + low + 1), first), T).to(tl.int32)
        length = end - first
        limit = length
        start = (tile - first // BLOCK - low) * BLOCK
        # Negative only if cu_seqlens is wrong: it decreases, or does not start at 0.
        start = tl.where(start < 0, length, start)
    else:
        batch = head // H
        head = head % H
        length = T
        limit = T
        if lengths is not None:
            length = tl.minimum(tl.maximum(tl.load(lengths + batch), 0), T).to(tl.int32)
        start = tile * BLOCK
    return start, length, limit, first, batch, head
