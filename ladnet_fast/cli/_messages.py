"""What a command says about an error: one message for an expected one, a traceback for a bug."""

from __future__ import annotations

import errno
import re

from .._extras import MissingExtraError
from .._printable import printable

#: What GPU libraries and C++ say, in a plain RuntimeError, when memory runs out.
_NO_MEMORY = re.compile(
    r"error: out of memory|ALLOC_FAILED|bad_alloc|bad allocation|Invalid buffer size"
    r"|cannot allocate memory",
    re.IGNORECASE,
)
_FULL = {errno.ENOSPC, errno.EDQUOT}
_LESS = (
    "do less at a time (score: a smaller --max-snippets; train: a smaller --batch-size; extract: "
    "fewer --crops), or use a machine with more memory"
)


#: Errors that are known without an import, since an import may be what failed.
_PLAINLY_EXPECTED = (ValueError, OSError, MissingExtraError, MemoryError)


def expected_errors() -> tuple[type[Exception], ...]:
    """Return errors whose message tells the user what to do; any other is a bug."""
    import torch
    from safetensors import SafetensorError

    from ..engine import TrainingDivergedError
    from ..ops._impl import ImplUnavailableError
    from ..video.errors import ExtractionError, WeightsError

    return (
        *_PLAINLY_EXPECTED,
        ImplUnavailableError,
        TrainingDivergedError,
        ExtractionError,
        WeightsError,
        SafetensorError,
        torch.OutOfMemoryError,
    )


def message_of(error: BaseException) -> str | None:
    """Return what to tell the user of an error, or None if it is a bug and needs its traceback."""
    from safetensors import SafetensorError

    from .._out_of_memory import NotEnoughMemoryError, describe

    if isinstance(error, NotEnoughMemoryError):
        message = str(error)
    elif _is_no_memory(error):
        message = describe(error, _LESS)
    elif isinstance(error, SafetensorError):
        message = f"a safetensors file can't be read or written: {error}"
    elif isinstance(error, OSError) and error.errno is not None and error.strerror:
        message = _of_the_system(error)
    elif _is_expected(error):
        message = str(error) or type(error).__name__
    else:
        return None
    return printable(message, keep="\n")


def _is_expected(error: BaseException) -> bool:
    if isinstance(error, _PLAINLY_EXPECTED):
        return True
    return isinstance(error, expected_errors())


def _is_no_memory(error: BaseException) -> bool:
    from .._out_of_memory import is_out_of_memory

    if is_out_of_memory(error):
        return True
    # RecursionError and NotImplementedError are RuntimeErrors too, and never this.
    if not isinstance(error, RuntimeError) or _NO_MEMORY.search(str(error)) is None:
        return False
    other = (*expected_errors(), RecursionError, NotImplementedError)
    return not isinstance(error, other)


def _of_the_system(error: OSError) -> str:
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    message = f"{' -> '.join(names)}: {error.strerror}" if names else str(error.strerror)
    if error.errno in _FULL:
        message += "; free some space there, or name another place"
    return message
