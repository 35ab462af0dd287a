"""A plain call of the compiled CPU kernels, in as few steps as Python allows.

For a short bag everything around the kernel takes as long as the kernel. Where nothing but autograd
has to see the call, it needs no operator of torch.library; where nobody asks for lse, none is kept
without a gradient to come; and what C++ has found to be right when it read the tensors needs no
check before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ... import _native
from ..._values import FLOAT32_MAX
from .. import _impl, _operator
from .._bags import Bags
from . import native
from .layout import empty_lse, empty_output
from .schema import Call, attention_backward, attention_forward

_NO_BAGS = (None, None)
_OURS = ("auto", native.NAME)


def attend(
    q: Any,
    k: Any,
    v: Any,
    w: Any,
    b: Any,
    bags: Bags | None,
    prior: Any,
    scale: object,
    impl: object,
) -> Tensor | None:
    """Return what `api.locality_attention` does, or None: then nothing has been done or checked.

    Serves calls whose tensors are plain and fit each other. The values of ``bags`` have been
    checked.
    """
    cpu: Any = _native.cpu
    if (
        not _native.reads_tensors
        or _native.cpu_problem is not None
        or torch.compiler.is_compiling()
        or type(impl) is not str
        or impl not in _OURS
        or _impl.requested(impl) not in _OURS
        or torch.is_autocast_enabled("cpu")
        or _operator.is_observed()
        or not cpu.attention_fit(q, k, v, w, b, prior)
    ):
        return None
    B, H, T, d = q.shape
    if d > native.MAX_HEAD_SIZE:
        return None
    if bags is not None:
        bags.check_fits("q", q, T)
    if scale is None:
        scale = d**-0.5
    elif type(scale) is not float or not -FLOAT32_MAX <= scale <= FLOAT32_MAX:
        return None
    if prior == "none":
        w = b = None
    lengths, cu_seqlens = _NO_BAGS if bags is None else bags[2:]
    options = (prior, lengths, cu_seqlens, scale, native.threads_for(B, H, T, d))
    if torch.is_grad_enabled() and (
        q.requires_grad
        or k.requires_grad
        or v.requires_grad
        or getattr(w, "requires_grad", False)
        or getattr(b, "requires_grad", False)
    ):
        trained: Tensor | None = _apply(q, k, v, w, b, options)
        return trained
    out = _new_like(q)(q)
    is_done = cpu.attention_forward_of_tensors(q, k, v, w, b, *options, out, None, None)
    return out if is_done else None


def _new_like(q: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the fastest function that allocates a result of q's shape."""
    return torch.empty_like if q.shape[1] == 1 and q.is_contiguous() else empty_output


class _Attention(torch.autograd.Function):
    """The kernels with their gradient; `schema` has the same for torch.library."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor | None:
        *inputs, options = given
        q = inputs[0]
        new = _new_like(q)
        out = new(q)
        attended = lse = None
        if q.shape[2] > native.longest_without_sums(q.dtype):
            attended, lse = (new(q) if options[0] == "additive" else out), empty_lse(q)
        cpu: Any = _native.cpu
        if not cpu.attention_forward_of_tensors(
            *inputs, *options, out, None if attended is out else attended, lse
        ):
            return None
        ctx.save_for_backward(*inputs, attended, lse)
        ctx.set_materialize_grads(False)
        ctx.options = options
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        (grad_out,) = grads
        if grad_out is None:
            return (None,) * 6
        q, k, v, w, b, attended, lse = ctx.saved_tensors
        options = ctx.options
        need = ctx.needs_input_grad
        need_prior_grad = w is not None and (need[3] or need[4])
        if not (torch.is_grad_enabled() or _operator.is_observed()):
            new = _new_like(q)
            dq, dk, dv = new(q), new(q), new(q)
            dw = db = None
            if need_prior_grad:
                dw, db = torch.empty_like(w), torch.empty_like(b)
            if grad_out.dim() == 4 and grad_out.stride(3) != 1:  # as of a sum: one number for all
                grad_out = grad_out.contiguous()
            cpu: Any = _native.cpu
            if cpu.attention_backward_of_tensors(
                q, k, v, w, b, *options, grad_out, attended, lse, dq, dk, dv, dw, db
            ):
                return dq, dk, dv, dw, db, None
        # A gradient that does not lie as the kernels need it; or the operator has to be seen, and
        # to refuse a second derivative.
        prior, lengths, cu_seqlens, scale, _ = options
        call = Call(q, k, v, w, b, lengths, cu_seqlens, prior, scale, True, native.NAME)
        if attended is None:  # which the operator's schema has, though the kernels need no such
            with torch.no_grad():
                out, lse, softmax_out = attention_forward(call)
            attended = softmax_out if prior == "additive" else out
        dq, dk, dv, dw, db = attention_backward(
            grad_out, call, attended, attended, lse, need_prior_grad
        )
        return (dq, dk, dv, *((dw, db) if need_prior_grad else (None, None)), None)


# Function.apply asks first whether torch.func has wrapped the arguments, which `attend` has asked
# already.
_apply = super(torch.autograd.Function, _Attention).apply
