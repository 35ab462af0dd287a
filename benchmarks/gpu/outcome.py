"""What became of a check."""

from __future__ import annotations

import gc
from dataclasses import asdict, dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Outcome:
    """One line of the report's checks."""

    step: str
    name: str
    status: str
    """ "ok", "failed" or "unavailable"."""
    detail: str
    """What was found, or why nothing was."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        return asdict(self)


def release() -> None:
    """Give memory back that nobody holds any more, so that the next case finds it free.

    Raises
    ------
    RuntimeError
        If the device has failed for good: after an illegal memory access, for one, CUDA answers
        every call of the process with that error.
    """
    gc.collect()
    _wait()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def device_lost() -> bool:
    """Return whether the device fails whatever it is asked; see `release`."""
    try:
        _wait()
    except Exception:  # which error it is says nothing: nothing was asked of it but to be done
        return True
    return False


def _wait() -> None:
    # Not is_available: it is False as well where a device is there and has failed.
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
