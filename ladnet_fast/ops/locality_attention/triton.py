"""The Triton kernels as a backend of locality attention.

The derivation is in kernels/locality_attention/README.md. The kernels trust shapes, dtypes and
devices of a call, which have been checked. Where values of lengths and cu_seqlens have not, which
would wait for the device, the kernels clamp them into the tensors.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import _triton
from .._memory import check_memory
from .checks import check_saved
from .layout import empty_lse, empty_output

if TYPE_CHECKING:
    from .schema import Call

NAME = "triton"
MAX_HEAD_SIZE = 256

_DTYPES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


def why_not(q: Tensor, k: Tensor, v: Tensor) -> list[str]:
    """Return every reason why this backend cannot serve these tensors; none if it can."""
    reasons = _triton.problems({"q": q, "k": k, "v": v})
    if q.dtype not in _DTYPES:
        reasons.append(f"q is {q.dtype}; the Triton kernels take float32, bfloat16 and float16")
    if q.shape[-1] > MAX_HEAD_SIZE:
        reasons.append(f"the head size is {q.shape[-1]}; the Triton kernels reach {MAX_HEAD_SIZE}")
    return reasons


def forward(call: Call) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return ``(out, lse, softmax_out)`` in the operator's layout; rows of padding are 0 in all.

    Products of fp32 are IEEE unless ``torch.backends.cuda.matmul.fp32_precision`` is "tf32".
    """
    q = call.q
    entries = _entries(call)
    out, lse = empty_output(q), empty_lse(q)
    softmax_out = empty_output(q) if call.training and call.prior == "additive" else None
    kernel = _forward_kernel(call)

    def plan(choose: Callable[[str, str], Any]) -> Any:
        return _plan().plan_forward(
            q, call.k, call.v, *entries, out, lse, softmax_out,
            prior=call.prior, scale=call.scale, precision=_product_precision(q), choose=choose,
            multiprocessors=_multiprocessors(q.device), kernel=kernel,
        )  # fmt: skip

    with _triton.on_device(q):
        _run(call, plan, lambda launches: launches)
    return out, lse, softmax_out


def backward(
    grad_out: Tensor, call: Call, attended: Tensor, lse: Tensor, need_prior_grad: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """Return the gradients of q, k, v, w and b; the last two None unless ``need_prior_grad``.

    ``attended`` and ``lse`` are what `forward` returned.
    """
    check_saved(call, grad_out, attended, lse)
    q = call.q
    entries = _entries(call)
    for name, x in (("grad_out", grad_out), ("attended", attended), ("lse", lse)):
        check_memory(name, x)
    dq, dk, dv = (empty_output(q) for _ in range(3))
    kernel = _backward_kernel(call)

    def plan(choose: Callable[[str, str], Any]) -> Any:
        return _plan().plan_backward(
            grad_out, q, call.k, call.v, *entries[:2], attended, lse, *entries[2:], dq, dk, dv,
            prior=call.prior, scale=call.scale, need_prior_grad=need_prior_grad,
            precision=_product_precision(q), choose=choose, kernel=kernel,
        )  # fmt: skip

    with _triton.on_device(q):
        planned = _run(call, plan, lambda planned: planned.launches)
        return (dq, dk, dv, *planned.prior_grads())


def _entries(call: Call) -> list[Tensor | None]:
    """Return w, b, lengths and cu_seqlens as the kernels read them; all memory is there."""
    for name in ("q", "k", "v"):
        check_memory(name, getattr(call, name))
    found: list[Tensor | None] = []
    for name in ("w", "b", "lengths", "cu_seqlens"):
        x: Tensor | None = getattr(call, name)
        if x is not None:
            check_memory(name, x)
        found.append(x if x is None else x.contiguous())
    return found


def _plan() -> ModuleType:
    from ...kernels.locality_attention import plan  # imports Triton

    return plan


def _product_precision(q: Tensor) -> str:
    """Return how fp32 is multiplied: "tf32" only where PyTorch's own products may be.

    Never on AMD GPUs, whose matrix cores multiply fp32 without rounding it first.
    """
    allowed = torch.backends.cuda.matmul.fp32_precision == "tf32" and torch.version.hip is None
    return "tf32" if allowed and q.dtype == torch.float32 else "ieee"


def _run(call: Call, plan: Callable[..., Any], launches: Callable[[Any], Any]) -> Any:
    """Plan and launch a pass; return the plan, from which ``launches`` takes what is launched."""
    from ...kernels import fitting
    from ...kernels.locality_attention import configs

    where = _where(call)
    return fitting.run(
        plan,
        launches,
        _chooser(call, where, lambda choose: launches(plan(choose))),
        lambda kernel, prior: configs.offered(kernel, prior=prior, **where),
        place=(str(call.q.device), where["precision"], f"d={where['head_size']}"),
    )


def _forward_kernel(call: Call) -> str:
    """Return which kernel computes the forward pass; from shapes alone, so nobody waits for it."""
    from ...kernels.locality_attention import configs

    return configs.forward_kernel(call.q.shape[2], prior=call.prior, **_where(call))


def _backward_kernel(call: Call) -> str:
    """Return which kernel computes the backward pass, by the bags' length or their mean."""
    from ...kernels.locality_attention import configs

    snippets = call.q.shape[2]
    if call.cu_seqlens is not None:
        snippets = math.ceil(snippets / max(call.cu_seqlens.shape[0] - 1, 1))
    return configs.backward_kernel(snippets, prior=call.prior, **_where(call))


def _where(call: Call) -> dict[str, Any]:
    """Return what configurations are looked up by, beside kernel and prior."""
    q = call.q
    return {
        "architecture": _architecture(q.device),
        "precision": "tf32" if _product_precision(q) == "tf32" else _DTYPES[q.dtype],
        "head_size": q.shape[-1],
        "shared_bytes": _triton.shared_bytes(q.device),
    }


def _chooser(
    call: Call, where: dict[str, Any], plan: Callable[..., Any]
) -> Callable[[str, str], Any]:
    """Return a function that chooses each kernel's configuration.

    It looks them up in the shipped table; with LADNET_AUTOTUNE=1 it measures the launches that
    ``plan`` returns for each candidate.
    """
    from ...kernels.locality_attention import configs

    if os.environ.get("LADNET_AUTOTUNE") == "1" and not _triton.INTERPRETED:
        from ...kernels.locality_attention import autotune, descriptors

        described = descriptors.describable(call.q, call.k, call.v)
        known = {name: value for name, value in where.items() if name != "shared_bytes"}
        return autotune.chooser(
            plan,
            lambda kernel, prior: tuple(
                config
                for config in configs.candidates(kernel, prior=prior, **known)
                if described or not config.descriptors
            ),
            device=torch.cuda.get_device_name(call.q.device),
            problem=_problem(call, where["precision"])
            + ("" if described else " without descriptors"),
        )
    return lambda kernel, prior: configs.offered(kernel, prior=prior, **where)[0]


def _problem(call: Call, precision: str) -> str:
    """Return what a measured choice of configurations depends on."""
    from ...kernels.locality_attention import autotune

    B, H, T, d = call.q.shape
    if call.cu_seqlens is not None:
        bags = call.cu_seqlens.shape[0] - 1
        return autotune.describe(precision, d, "packed", heads=H, bags=bags, rows=T)
    layout = "dense" if call.lengths is None else "padded"
    return autotune.describe(precision, d, layout, heads=B * H, T=T)


@functools.cache
def _architecture(device: torch.device) -> int | str:
    if _triton.INTERPRETED:
        return "interpreter"
    if torch.version.hip is not None:
        return "hip"
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


@functools.cache
def _multiprocessors(device: torch.device) -> int:
    """Return how many programs the GPU computes at once; one under the interpreter."""
    if _triton.INTERPRETED:
        return 1
    return int(torch.cuda.get_device_properties(device).multi_processor_count)
