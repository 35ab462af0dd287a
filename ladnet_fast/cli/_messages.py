"""What a command says of an error: one message for what is expected, none for a bug."""

from __future__ import annotations

import errno
import re

import torch
from safetensors import SafetensorError

from .._extras import MissingExtraError
from .._memory import NotEnoughMemoryError
from .._printable import printable
from ..engine import TrainingDivergedError
from ..ops._impl import ImplUnavailableError
from ..video.errors import ExtractionError, WeightsError

#: Errors whose message tells the user what to do. Others are ours, and show a traceback.
EXPECTED_ERRORS: tuple[type[Exception], ...] = (
    ValueError,
    OSError,
    MissingExtraError,
    ImplUnavailableError,
    TrainingDivergedError,
    ExtractionError,
    WeightsError,
    SafetensorError,
    MemoryError,
    torch.OutOfMemoryError,
)

#: What torch and CUDA say in a plain RuntimeError where memory can't be had.
_NO_MEMORY = re.compile(
    r"can't allocate memory|not enough memory|out of memory|cannot allocate memory|bad_alloc"
    r"|bad allocation|ALLOC_FAILED|Invalid buffer size|Storage size calculation overflowed",
    re.IGNORECASE,
)
_BYTES = re.compile(r"tried to allocate (\d+) bytes", re.IGNORECASE)
_AMOUNT = re.compile(r"(?:allocate|buffer size:?) (\d[\d.]* [KMGTPE]?i?B)\b", re.IGNORECASE)
_FULL = {errno.ENOSPC, errno.EDQUOT}
_LESS = (
    "do less at a time (score: a smaller --max-snippets; train: a smaller --batch-size; extract: "
    "fewer --crops), or use a machine with more memory"
)


def message_of(error: BaseException) -> str | None:
    """Return what to tell the user of an error, or None if it is a bug and needs its traceback."""
    if isinstance(error, NotEnoughMemoryError):
        message = str(error)
    elif _is_no_memory(error):
        message = f"not enough memory{_asked_for(error)}; {_LESS}"
    elif isinstance(error, SafetensorError):
        message = f"a safetensors file can't be read or written: {error}"
    elif isinstance(error, OSError) and error.errno is not None and error.strerror:
        message = _of_the_system(error)
    elif isinstance(error, EXPECTED_ERRORS):
        message = str(error) or type(error).__name__
    else:
        return None
    return printable(message, keep="\n")


def _is_no_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # RecursionError and NotImplementedError are RuntimeErrors too, and never this.
    plain = isinstance(error, RuntimeError) and not isinstance(
        error, (*EXPECTED_ERRORS, RecursionError, NotImplementedError)
    )
    return plain and _NO_MEMORY.search(str(error)) is not None


def _asked_for(error: BaseException) -> str:
    """Say how much memory was asked for, where the error says so."""
    text = str(error)
    if found := _BYTES.search(text):
        amount = int(found[1])
        return f": {amount:,} bytes ({amount / 2**30:.1f} GiB) were asked for at once"
    if found := _AMOUNT.search(text):
        return f": {found[1]} were asked for at once"
    return ""


def _of_the_system(error: OSError) -> str:
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    message = f"{' -> '.join(names)}: {error.strerror}" if names else str(error.strerror)
    if error.errno in _FULL:
        message += "; free some space there, or name another place"
    return message
