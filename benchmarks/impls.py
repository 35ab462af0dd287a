"""The project's own implementations, asked whether they can serve here."""

from __future__ import annotations

import functools
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


def why_no_candidate(kind: str, *tensors: Tensor) -> list[str]:
    """Return why no forward kernel of a kind serves `candidate` for q, k and v; empty if one does.

    ``kind`` is a `Config.kind` that only autotuning tries, "descriptors" or "specialized".
    """
    reasons = why_not("locality_attention", "triton", *tensors)
    if reasons:
        return reasons
    from ladnet_fast.kernels.locality_attention.descriptors import describable
    from ladnet_fast.ops.locality_attention import triton as backend

    q = tensors[0]
    where = {
        "architecture": backend._architecture(q.device),
        "precision": "tf32"
        if backend._product_precision(q) == "tf32"
        else backend._DTYPES[q.dtype],
        "head_size": q.shape[-1],
    }
    if not any(_of_kind(kind, prior, **where) for prior in ("additive", "logit", "none")):
        sizes = f"{where['precision']} and a head size of {where['head_size']}"
        return [f"no forward kernel of the kind {kind!r} is shipped for this GPU, {sizes}"]
    return [] if describable(*tensors) else ["q, k or v has no descriptor"]


def candidate(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` as it is where the first forward kernel of a kind serves attention."""
    from ladnet_fast.kernels.locality_attention import configs

    served = configs.offered

    @functools.cache
    def offered(kernel: str, **where: Any) -> tuple[Any, ...]:
        given = {name: value for name, value in where.items() if name != "shared_bytes"}
        first = _of_kind(kind, **given) if kernel == "forward" else ()
        return (*first, *served(kernel, **where))

    def run(*arguments: Any) -> Any:
        module: Any = configs
        module.offered = offered
        try:
            return function(*arguments)
        finally:
            module.offered = served

    return run


def _of_kind(kind: str, prior: str, **where: Any) -> tuple[Any, ...]:
    from ladnet_fast.kernels.locality_attention import configs

    found = configs.candidates("forward", prior=prior, **where)
    return tuple(config for config in found if config.kind == kind)


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
