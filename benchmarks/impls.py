"""The project's own implementations, asked whether they can serve here."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from torch import Tensor

from ladnet_fast.ops._impl import IMPLS
from ladnet_fast.ops.ddl_loss import schema as _ddl
from ladnet_fast.ops.locality_attention import schema as _attention
from ladnet_fast.ops.residual_norm import schema as _norm
from ladnet_fast.ops.score_head import schema as _head

#: Operator -> implementation -> the module that serves it; what the operators' tables hold.
BACKENDS: dict[str, dict[str, ModuleType]] = {
    "locality_attention": _attention.BACKENDS,
    "ddl_loss": _ddl.BACKENDS,
    "score_head": _head.BACKENDS,
    "residual_norm": _norm.BACKENDS,
}
#: Kernels, as opposed to the reference, which is a peer here.
KERNELS = tuple(name for name in IMPLS if name not in ("auto", "reference"))


def why_not(op: str, impl: str, *tensors: Tensor) -> list[str]:
    """Return the reasons why ``impl`` cannot serve ``op`` for these tensors; empty if it can."""
    if impl not in BACKENDS[op]:
        return [f"{op} has no implementation {impl!r} in this version"]
    reasons: list[str] = BACKENDS[op][impl].why_not(*tensors)
    return reasons


def _never(programs: int, key_tiles: int, *, multiprocessors: int) -> int:
    return 1


def unsplit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` as it is where the attention's forward pass never splits keys."""

    def run(*arguments: Any) -> Any:
        from ladnet_fast.kernels.locality_attention import plan

        # Not mock.patch, which takes longer than a launch: this is timed.
        module: Any = plan
        chosen = module.choose_splits
        module.choose_splits = _never
        try:
            return function(*arguments)
        finally:
            module.choose_splits = chosen

    return run
