"""Whether the native linear layers pay on this machine: what "auto" follows.

Callers need `serves` and `reason` only.
"""

from __future__ import annotations

from .. import _impl
from . import native

#: Snippets in a batch from which on the native kernels may win.
MIN_SNIPPETS = native.least_snippets()


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
    if not pays():
        return False
    return _impl.is_exporting() or snippets >= MIN_SNIPPETS


def reason() -> str:
    """Return who serves on this machine, and from what that was decided, as one line."""
    if pays():
        return f"native from {MIN_SNIPPETS} snippets per batch on; LADNET_LINEAR=torch prevents it"
    return "PyTorch: not known to be slower on this processor; LADNET_LINEAR=native overrules it"


@_impl.constant_in_graphs
def pays() -> bool:
    """Whether the native kernels are faster on this machine, for batches that are large enough."""
    return native.pays()
