"""Which rows a program owns: dense batches, padded ones with lengths, bags packed end to end."""

import triton
import triton.language as tl


@triton.jit
def locate(lengths, cu_seqlens, H, T, bags, tiles, BLOCK: tl.constexpr):
    """Find the bag, the head and the rows of this program.

    The grid has one axis of batches x heads x ``tiles`` programs. Packed bags never tell the host
    how long they are: bag n is given the tiles from ``cu_seqlens[n] // BLOCK + n`` on, which is
    always enough for it, so that ``tiles = T // BLOCK + bags`` is known from shapes alone. A
    program finds its bag by bisection; one that got no rows has ``start >= length``.

    Values are clamped into the tensor: what an unchecked length on the device breaks is the result,
    not another tensor's memory.

    Returns
    -------
    start : int32
        The program's first row, counted from the first of its bag.
    length, limit : int32
        Rows of the bag, and rows including padding, which the program has to clear.
    first, batch, head : int32
        Where the bag begins in the tensor.
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
            begins = tl.load(cu_seqlens + middle) // BLOCK + middle
            low = tl.where(begins <= tile, middle, low)
            high = tl.where(begins <= tile, high, middle - 1)
        first = tl.minimum(tl.maximum(tl.load(cu_seqlens + low), 0), T).to(tl.int32)
        end = tl.minimum(tl.maximum(tl.load(cu_seqlens + low + 1), first), T).to(tl.int32)
        length = end - first
        limit = length
        start = (tile - first // BLOCK - low) * BLOCK
        # Negative only where offsets fall or do not begin at 0.
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
