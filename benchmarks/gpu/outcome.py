"""What became of a check."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from tests.budget import OutputError, describe

from ..check import DoesNotFitError
from ..runner import first_line


class Unavailable(Exception):  # noqa: N818 - not an error: the check does not apply here
    """A check cannot be made here; the message says why."""


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


def run_check(step: str, name: str, check: Callable[[], tuple[bool, str]]) -> Outcome:
    """Make a check; one that raises has failed, unless it says that it cannot be made here.

    Wait for the device, too: what a kernel does wrong may show no earlier. Whoever calls this in
    turns calls :func:`release` in between.
    """
    try:
        passed, detail = check()
        _wait()
        status = "ok" if passed else "failed"
    except (Unavailable, DoesNotFitError) as reason:
        status, detail = "unavailable", str(reason)
    except Exception as error:  # the other checks go on; the run ends with an error all the same
        status, detail = "failed", first_line(error)
    return Outcome(step, name, status, detail)


def release() -> None:
    """Give memory back that nobody holds any more, so that the next check finds it free.

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
    """Return whether the device fails whatever it is asked; see :func:`release`."""
    try:
        _wait()
    except Exception:  # which error it is says nothing: nothing was asked of it but to be done
        return True
    return False


def _wait() -> None:
    # Not is_available: it is False as well where a device is there and has failed.
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def judge_errors(errors: Iterable[OutputError]) -> tuple[bool, str]:
    """Return whether every output is within its budget, and the one that is closest to it."""
    found = list(errors)
    wrong = [entry for entry in found if not entry.ok]
    if wrong:
        return False, describe(wrong)
    worst = max(found, key=lambda e: e.error / e.budget if e.budget else 0.0)
    return True, f"worst: {worst.output}, {worst.error:.2g} of the {worst.budget:.2g} allowed"
