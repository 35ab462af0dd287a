"""Whether the native linear layers pay on this machine: what "auto" follows.

On some machines that is known for batches of `MIN_SNIPPETS` or more (`native.pays`). All else is
measured (`selftest`), once for each number of threads, and kept on disk (`remembered`): forward
alone, as in scoring, and with the backward pass, as in training, for batches of three sizes. The
native layers gain with the size: they keep in the cache what PyTorch's write to memory between two
layers, and pack the weights for more snippets. So what wins with a size serves all larger ones, and
the next size is measured where it has lost, when the first such batch comes.

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


#: Snippets in a batch from which on the native kernels may win: a video of 200 is among them.
SHORT_SNIPPETS = 192
#: Snippets in a batch from which on they are known to win on some machines.
MIN_SNIPPETS = native.least_snippets()
#: Snippets in the large batch that is measured.
LARGE_SNIPPETS = 8 * MIN_SNIPPETS
# A fact about the machine, asked once.
_known = native.pays()
_setting = _check_setting(os.environ.get(_VARIABLE, "on") or "on")
_lock = threading.Lock()


@dataclass(frozen=True)
class _Measured:
    timings: selftest.Timings
    path: Path | None  # None: not on disk

    def turns(self, training: bool) -> tuple[selftest.Turn, ...]:
        return self.timings.training if training else self.timings.forward


# By the number of threads and the size of the batch.
_measured: dict[tuple[int, int], _Measured] = {}


def serves(snippets: int, training: bool) -> bool:
    """Whether the native kernels are faster than PyTorch's layers for a batch of this size.

    Compiled graphs take the answers about the machine for constants. The size becomes a guard, so
    there is one graph for small batches and one for large ones. An exported graph serves all sizes,
    may not have a guard, and is made as for `MIN_SNIPPETS`.

    Parameters
    ----------
    snippets : int
        B * T, padding included.
    training : bool
        Whether the call will be differentiated.
    """
    if _impl.is_exporting():
        return pays(MIN_SNIPPETS, training)
    if _known and snippets >= MIN_SNIPPETS:
        return True
    for size in _sizes():
        if not _may_pay(size, training):
            continue
        if snippets < size:
            return False
        if pays(size, training):
            return True
    return False


def reason() -> str:
    """Return who serves on this machine, and from what that was decided, as one line."""
    why = _why_unmeasured()
    if why and _known:
        return (
            f"native from {MIN_SNIPPETS} snippets per batch on: known to be faster here; for fewer "
            f"nothing is measured ({why}); LADNET_LINEAR=native or torch overrules it"
        )
    if why:
        return (
            f"PyTorch: not known to be slower on this processor, and nothing is measured ({why}); "
            "LADNET_LINEAR=native overrules it"
        )
    forward, training = (_least_winner(training) for training in (False, True))
    factors = "; ".join(
        f"{size} snippets: {selftest.speedup(found.timings.forward):.2f} forward, "
        f"{selftest.speedup(found.timings.training):.2f} forward and backward"
        for size in _sizes()
        if not _is_known(size)
        for found in [_measure(size)]
    )
    known = f"; from {MIN_SNIPPETS} on it is known to be faster here" if _known else ""
    threads = torch.get_num_threads()
    with_threads = "1 thread" if threads == 1 else f"{threads} threads"
    return (
        f"{forward} forward, {training} in training: with {with_threads} the native "
        f"layers were measured to be so many times as fast as PyTorch's: {factors} "
        f"({selftest.MARGIN} is asked for){known}; LADNET_LINEAR=native or torch overrules it"
    )


def how_to_repeat() -> str | None:
    """Return the command after which the next process measures again.

    None where this process has neither measured nor read what another one did, or could not keep
    it.
    """
    threads = torch.get_num_threads()
    paths = [m.path for (of, _), m in sorted(_measured.items()) if of == threads]
    kept = [str(path) for path in paths if path is not None]
    return shlex.join(["rm", *kept]) if kept else None


@_impl.constant_in_graphs
def pays(size: int, training: bool) -> bool:
    """Whether the native kernels are faster on this machine, for batches of ``size`` or more."""
    if _is_known(size) or _why_unmeasured():
        return _is_known(size)
    return selftest.native_wins(_measure(size).turns(training))


@_impl.constant_in_graphs
def _may_pay(size: int, training: bool) -> bool:
    """Whether `pays` may be true, told without measuring."""
    if _is_known(size) or _why_unmeasured():
        return _is_known(size)
    found = _measured.get((torch.get_num_threads(), size))
    return found is None or selftest.native_wins(found.turns(training))


def _sizes() -> tuple[int, ...]:
    return SHORT_SNIPPETS, MIN_SNIPPETS, LARGE_SNIPPETS


def _is_known(size: int) -> bool:
    return _known and size >= MIN_SNIPPETS


def _least_winner(training: bool) -> str:
    for size in _sizes():
        if pays(size, training):
            return f"native from {size} snippets per batch on"
    return "PyTorch"


def _why_unmeasured() -> str | None:
    if _native.cpu_problem is not None:
        return _native.cpu_problem
    if _setting == "off":
        return f"{_VARIABLE}=off"
    if torch.are_deterministic_algorithms_enabled():
        return "torch.use_deterministic_algorithms is on"
    return None


def _measure(size: int) -> _Measured:
    threads = torch.get_num_threads()
    with _lock:
        if (threads, size) not in _measured:
            key = remembered.circumstances(threads, size)
            timings, kept = remembered.timings(key, lambda: selftest.measure(size))
            path = remembered.path_of(key) if kept else None
            _measured[threads, size] = _Measured(timings, path)
        return _measured[threads, size]
