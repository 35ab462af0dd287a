"""Whether the native linear layers pay on this machine: what "auto" follows.

On some machines that is known (`native.pays`). On all others it is measured at the first call that
is large enough (`selftest`), once for each number of threads, and kept on disk (`remembered`).
Nothing is measured, and what is known decides, where torch is asked for deterministic algorithms
and where the environment variable ``LADNET_SELF_TEST``, read at import, is "off".

Callers need `serves`, `reason` and `how_to_repeat` only.
"""

from __future__ import annotations

import os
import shlex
import threading
from dataclasses import dataclass
from pathlib import Path

import torch

from ... import _native
from .. import _impl
from . import native, remembered, selftest

_VARIABLE = "LADNET_SELF_TEST"
_SETTINGS = ("on", "off")


def _check_setting(value: str) -> str:
    if value not in _SETTINGS:
        raise ValueError(
            f"the environment variable {_VARIABLE} must be one of {', '.join(_SETTINGS)}; "
            f"got {value!r}"
        )
    return value


#: Snippets in a batch from which on the native kernels may win.
MIN_SNIPPETS = native.least_snippets()
# A fact about the machine, asked once.
_known = native.pays()
_setting = _check_setting(os.environ.get(_VARIABLE, "on") or "on")
_lock = threading.Lock()


@dataclass(frozen=True)
class _Verdict:
    native: bool
    timings: selftest.Timings
    path: Path | None  # None: not on disk


# By the number of threads.
_measured: dict[int, _Verdict] = {}


def serves(snippets: int) -> bool:
    """Whether the native kernels are faster than PyTorch's layers for a batch of this size.

    Compiled graphs take the answer about the machine for a constant. The size becomes a guard, so
    there are two graphs at most, one for small and one for large batches. An exported graph serves
    all sizes and may not have a guard.

    Parameters
    ----------
    snippets : int
        B * T, padding included.
    """
    if not _may_pay():
        return False
    if not _impl.is_exporting() and snippets < MIN_SNIPPETS:
        return False
    return pays()


def reason() -> str:
    """Return who serves on this machine, and from what that was decided, as one line."""
    native_line = f"native from {MIN_SNIPPETS} snippets per batch on"
    if _known:
        return f"{native_line}: known to be faster here; LADNET_LINEAR=torch prevents it"
    why = _why_unmeasured()
    if why:
        return (
            f"PyTorch: not known to be slower on this processor, and nothing is measured ({why}); "
            "LADNET_LINEAR=native overrules it"
        )
    verdict = _verdict()
    who, other = (native_line, "torch") if verdict.native else ("PyTorch", "native")
    factors = [
        f"{selftest.speedup(turns):.2f} times as fast {what}"
        for what, turns in (
            ("forward", verdict.timings.forward),
            ("forward and backward", verdict.timings.training),
        )
    ]
    return (
        f"{who}: with {torch.get_num_threads()} threads the native layers were measured to be "
        f"{' and '.join(factors)} ({selftest.MARGIN} is asked for); LADNET_LINEAR={other} "
        "overrules it"
    )


def how_to_repeat() -> str | None:
    """Return the command after which the next process measures again.

    None where this process has neither measured nor read what another one did, or could not keep
    it.
    """
    verdict = _measured.get(torch.get_num_threads())
    if verdict is None or verdict.path is None:
        return None
    return f"rm {shlex.quote(str(verdict.path))}"


@_impl.constant_in_graphs
def pays() -> bool:
    """Whether the native kernels are faster on this machine, for batches that are large enough."""
    return _known or (_measures() and _verdict().native)


@_impl.constant_in_graphs
def _may_pay() -> bool:
    """Whether `pays` may be true, told without measuring."""
    if _known or not _measures():
        return _known
    verdict = _measured.get(torch.get_num_threads())
    return verdict is None or verdict.native


def _measures() -> bool:
    return not _why_unmeasured()


def _why_unmeasured() -> str | None:
    if _native.cpu_problem is not None:
        return _native.cpu_problem
    if _setting == "off":
        return f"{_VARIABLE}=off"
    if torch.are_deterministic_algorithms_enabled():
        return "torch.use_deterministic_algorithms is on"
    return None


def _verdict() -> _Verdict:
    threads = torch.get_num_threads()
    with _lock:
        if threads not in _measured:
            key = remembered.circumstances(threads, MIN_SNIPPETS)
            timings, kept = remembered.timings(key, lambda: selftest.measure(MIN_SNIPPETS))
            path = remembered.path_of(key) if kept else None
            _measured[threads] = _Verdict(selftest.native_wins(timings), timings, path)
        return _measured[threads]
