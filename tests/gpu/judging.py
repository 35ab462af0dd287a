"""What a check finds: within the budget or not, or that it cannot be made here."""

from __future__ import annotations

import gc
from collections.abc import Iterable

import torch

from tests.budget import OutputError, describe


class Unavailable(Exception):  # noqa: N818 - not an error: the check does not apply here
    """A check cannot be made here; the message says why."""


def judge_errors(errors: Iterable[OutputError]) -> tuple[bool, str]:
    """Return whether every output is within its budget, and the one that is closest to it."""
    found = list(errors)
    wrong = [entry for entry in found if not entry.ok]
    if wrong:
        return False, describe(wrong)
    worst = max(found, key=lambda e: e.error / e.budget if e.budget else 0.0)
    return True, f"worst: {worst.output}, {worst.error:.2g} of the {worst.budget:.2g} allowed"


def wait() -> None:
    """Wait for the device: what a kernel does wrong may show no earlier."""
    # Not is_available: it is False as well where a device is there and has failed.
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def release() -> None:
    """Give memory back that nobody holds any more, so that the next check finds it free.

    Raises
    ------
    RuntimeError
        If the device has failed for good: after an illegal memory access, for one, CUDA answers
        every call of the process with that error.
    """
    gc.collect()
    wait()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
