"""The project's own implementations, asked whether they can serve here."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from torch import Tensor

from ladnet_fast.ops._impl import IMPLS
from ladnet_fast.ops.ddl_loss import schema as _ddl
from ladnet_fast.ops.locality_attention import schema as _attention
from ladnet_fast.ops.score_head import schema as _head

#: Operator -> implementation -> the module that serves it; what the operators' tables hold.
BACKENDS: dict[str, dict[str, ModuleType]] = {
    "locality_attention": _attention.BACKENDS,
    "ddl_loss": _ddl.BACKENDS,
    "score_head": _head.BACKENDS,
}
#: Kernels, as opposed to the reference, which is a peer here.
KERNELS = tuple(name for name in IMPLS if name not in ("auto", "reference"))


def why_not(op: str, impl: str, *tensors: Tensor) -> list[str]:
    """Return the reasons why ``impl`` cannot serve ``op`` for these tensors; empty if it can."""
    if impl not in BACKENDS[op]:
        return [f"{op} has no implementation {impl!r} in this version"]
    reasons: list[str] = BACKENDS[op][impl].why_not(*tensors)
    return reasons


#: What the attention's plan asks for the number of splits.
_CHOOSE = "choose_splits"


def why_not_unsplit() -> list[str]:
    """Return why the Triton kernels cannot be kept from splitting keys; empty if they can."""
    from ladnet_fast.kernels.locality_attention import plan  # imports Triton

    return [] if _CHOOSE in vars(plan) else ["this version never splits keys"]


def unsplit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` as it is where the attention's forward pass never splits keys."""

    def run(*arguments: Any) -> Any:
        from ladnet_fast.kernels.locality_attention import plan

        names = vars(plan)  # as fast as can be: this is timed
        chosen = names[_CHOOSE]
        names[_CHOOSE] = lambda *sizes, **options: 1
        try:
            return function(*arguments)
        finally:
            names[_CHOOSE] = chosen

    return run
