"""Keeping freed memory inside the process on a CPU.

Networks allocate and free tens of megabytes per layer, in the same order again and again. glibc
hands blocks of that size back to the kernel, and the next layer pays for fresh zeroed pages: about
a third of I3D's running time.
"""

from __future__ import annotations

import ctypes
import logging
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# <malloc.h>
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_DEFAULT_TRIM_THRESHOLD, _DEFAULT_MMAP_MAX = 128 * 1024, 65_536
_NEVER = 2**31 - 1

log = logging.getLogger(__name__)


@contextmanager
def keep_freed_memory() -> Iterator[bool]:
    """Make glibc's malloc keep freed blocks for the next allocation, inside the ``with`` block.

    The setting holds for the whole process, so it is meant for commands and not for libraries in
    general. The process keeps its peak memory until the block ends. Then glibc's documented
    defaults are set and unused memory is returned. (glibc can't tell the former values, and no
    longer adapts its threshold by itself.)

    Yields
    ------
    bool
        Whether the setting is in force. False where the C library is not glibc (musl, macOS,
        Windows); nothing is changed there.
    """
    libc = _glibc()
    changed = libc is not None and (
        libc.mallopt(_M_MMAP_MAX, 0) == 1 and libc.mallopt(_M_TRIM_THRESHOLD, _NEVER) == 1
    )
    if not changed:
        log.info("malloc left as it is: the C library is not glibc or refused")
    try:
        yield changed
    finally:
        if libc is not None:
            libc.mallopt(_M_MMAP_MAX, _DEFAULT_MMAP_MAX)
            libc.mallopt(_M_TRIM_THRESHOLD, _DEFAULT_TRIM_THRESHOLD)
            libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return None
    libc = ctypes.CDLL(None)
    libc.mallopt.argtypes, libc.mallopt.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
    libc.malloc_trim.argtypes, libc.malloc_trim.restype = [ctypes.c_size_t], ctypes.c_int
    return libc
