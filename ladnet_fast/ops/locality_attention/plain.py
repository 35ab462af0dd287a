"""A plain call of the compiled CPU kernels, in as few steps as Python allows.

For a short bag everything around the kernel takes as long as the kernel. Where nothing but autograd
has to see the call, it needs no operator of torch.library; where nobody asks for lse, none is kept
without a gradient to come; and what C++ has found to be right when it read the tensors needs no
check before.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ... import _native
from ..._values import FLOAT32_MAX
from .. import _impl, _operator
from .._bags import Bags
from . import native
from .layout import empty_lse, empty_output
from .schema import Call, attention_backward

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
        or q.shape[3] > native.MAX_HEAD_SIZE
    ):
        return None
    if bags is not None:
        bags.check_fits("q", q, q.shape[2])
    if scale is None:
        scale = q.shape[3] ** -0.5
    elif type(scale) is not float or not -FLOAT32_MAX <= scale <= FLOAT32_MAX:
        return None
    if prior == "none":
        w = b = None
    lengths, cu_seqlens = _NO_BAGS if bags is None else bags[2:]
    options = (prior, lengths, cu_seqlens, scale)
    if torch.is_grad_enabled() and (
        q.requires_grad
        or k.requires_grad
        or v.requires_grad
        or getattr(w, "requires_grad", False)
        or getattr(b, "requires_grad", False)
    ):
        trained: Tensor | None = _Attention.apply(q, k, v, w, b, options)
        return trained
    out = empty_output(q)
    is_done = cpu.attention_forward_of_tensors(
        q, k, v, w, b, *options, native.threads_for(q), out, None, None
    )
    return out if is_done else None


class _Attention(torch.autograd.Function):
    """The kernels with their gradient; `schema` has the same for torch.library."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor | None:
        *inputs, options = given
        q = inputs[0]
        out, lse = empty_output(q), empty_lse(q)
        softmax_out = torch.empty_like(out) if options[0] == "additive" else None
        cpu: Any = _native.cpu
        if not cpu.attention_forward_of_tensors(
            *inputs, *options, native.threads_for(q), out, softmax_out, lse
        ):
            return None
        ctx.save_for_backward(*inputs, out if softmax_out is None else softmax_out, lse)
        ctx.set_materialize_grads(False)
        ctx.options = options
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        (grad_out,) = grads
        if grad_out is None:
            return (None,) * 6
        q, k, v, w, b, attended, lse = ctx.saved_tensors
        prior, lengths, cu_seqlens, scale = ctx.options
        need = ctx.needs_input_grad
        need_prior_grad = prior != "none" and (need[3] or need[4])
        if not (torch.is_grad_enabled() or _operator.is_observed()):
            # As `attended` lies what `layout.empty_output` makes.
            empty = torch.empty_like
            dq, dk, dv = empty(attended), empty(attended), empty(attended)
            dw = db = None
            if need_prior_grad:
                dw, db = empty(w), empty(b)
            if grad_out.dim() == 4 and grad_out.stride(3) != 1:  # as of a sum: one number for all
                grad_out = grad_out.contiguous()
            cpu: Any = _native.cpu
            if cpu.attention_backward_of_tensors(
                q, k, v, w, b, *ctx.options, native.threads_for(q),
                grad_out, attended, lse, dq, dk, dv, dw, db,
            ):  # fmt: skip
                return dq, dk, dv, dw, db, None
        # A gradient that does not lie as the kernels need it; or the operator has to be seen, and
        # to refuse a second derivative.
        call = Call(q, k, v, w, b, lengths, cu_seqlens, prior, scale, True, native.NAME)
        dq, dk, dv, dw, db = attention_backward(
            grad_out, call, attended, attended, lse, need_prior_grad
        )
        return (dq, dk, dv, *((dw, db) if need_prior_grad else (None, None)), None)
