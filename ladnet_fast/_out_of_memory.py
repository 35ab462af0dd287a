"""Messages for when memory runs out: how much was asked for, and what needs less."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# What PyTorch says of the CPU's memory: only the message tells it from other RuntimeErrors.
_ALLOCATORS = (
    "DefaultCPUAllocator",
    "not enough memory: you tried to allocate",
    "Storage size calculation overflowed",
    "CUDA error: out of memory",
    "Invalid buffer size",
    "bad_alloc",
)
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_IN_BYTES = re.compile(r"allocate (\d+) bytes", re.IGNORECASE)
_WITH_UNIT = re.compile(r"allocate (\d+(?:\.\d+)?)\.? ([KMGTPE]iB)", re.IGNORECASE)


class NotEnoughMemoryError(MemoryError):
    """Memory ran out; the message says how much was asked for and what would need less."""


@contextmanager
def memory_errors(advice: str) -> Iterator[None]:
    """Turn a failed allocation, of any library, into one sentence.

    Parameters
    ----------
    advice : str
        What needs less memory, as the end of the sentence.

    Raises
    ------
    NotEnoughMemoryError
        Instead of MemoryError, `torch.OutOfMemoryError` and the RuntimeError of PyTorch's allocator
        for the CPU. Other errors pass as they are.
    """
    try:
        yield
    except NotEnoughMemoryError:
        raise
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise NotEnoughMemoryError(describe(error, advice)) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(name in str(error) for name in _ALLOCATORS)


def describe(error: BaseException, advice: str) -> str:
    """Return the sentence: what was asked for, on which device, and the advice."""
    asked = asked_for(error)
    where = "GPU memory" if isinstance(error, torch.OutOfMemoryError) else "memory"
    return f"not enough {where}{f': {asked} more were asked for' if asked else ''}; {advice}"


def asked_for(error: BaseException) -> str | None:
    """Return how much memory was asked for, with its unit; None where the error doesn't say."""
    count = asked_bytes(error)
    if count is not None:
        return readable_size(count)
    found = _WITH_UNIT.search(str(error))
    return f"{found[1]} {found[2]}" if found else None


def asked_bytes(error: BaseException) -> int | None:
    """Return how many bytes were asked for, where the error counts them."""
    found = _IN_BYTES.search(str(error))
    return int(found[1]) if found else None


def readable_size(count: float) -> str:
    """Format a number of bytes."""
    power = 0
    while count >= 1024 and power + 1 < len(_UNITS):
        count, power = count / 1024, power + 1
    return f"{count:.{min(power, 1)}f} {_UNITS[power]}"
