"""Memory for large results that are made and dropped again and again.

glibc returns a large block to the system when it is freed, and the next one begins with pages that
the system has to clear: for a result that is written once, that takes longer than computing it.
Here the block that was freed last is kept. Of a large one the system is told that it may take it
back whenever memory is short (``MADV_FREE``), so nobody runs out of memory for its sake; until then
it counts as this process's.
"""

from __future__ import annotations

import math
import mmap
import threading
import weakref

import numpy as np
import torch
from torch import Tensor

#: Below this glibc always keeps what is freed; up to 32 MiB it does so sometimes.
LEAST_BYTES = 2**20
#: From this on a block that waits for its next use belongs to the system if it needs memory. The
#: system's bookkeeping for that takes a millisecond, as long as filling a smaller block.
LENT_BYTES = 64 * 2**20
# Linux's, and only where Python knows it.
_FREE = getattr(mmap, "MADV_FREE", None)

_lock = threading.Lock()
_kept: mmap.mmap | None = None


def empty(like: Tensor, shape: torch.Size) -> Tensor:
    """Return an uninitialised, contiguous CPU tensor of ``like``'s dtype.

    A large one may have memory that was written before; its storage can't be resized.
    """
    bytes_ = math.prod(shape) * like.element_size()
    if _FREE is None or bytes_ < LEAST_BYTES:
        return like.new_empty(shape)
    block = _take(bytes_)
    data = np.frombuffer(block, np.uint8, bytes_)
    # The tensor's storage holds `data`, and nothing else does: when it goes, nobody can read the
    # block any more.
    weakref.finalize(data, _give_back, block).atexit = False
    storage = torch.from_numpy(data).untyped_storage()
    stride = torch.empty(shape, device="meta").stride()
    return like.new_empty(0).set_(storage, 0, shape, stride)  # no view: autograd may keep it


def _take(bytes_: int) -> mmap.mmap:
    global _kept
    with _lock:
        block, _kept = _kept, None
    # One that is much too large would hold memory that nobody uses.
    if block is not None and bytes_ <= len(block) <= 2 * bytes_:
        return block
    return mmap.mmap(-1, bytes_, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _give_back(block: mmap.mmap) -> None:
    global _kept
    if len(block) >= LENT_BYTES:
        block.madvise(_FREE)  # type: ignore[arg-type]
    with _lock:
        _kept = block
