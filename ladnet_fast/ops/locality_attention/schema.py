"""torch.library definitions of locality attention: schemas, fakes and autograd.

Two operators, forward and backward, so that torch.compile and torch.export see one opaque node
each. ``impl`` is the name of a backend that `api` has already chosen. A second derivative is
refused with an error.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from torch import Tensor

from .._autograd import no_second_derivative
from .._operator import operator
from . import native, reference, triton
from .layout import empty_lse, empty_output, lse_dtype

#: impl -> the module that serves it: one file with ``why_not``, ``forward`` and ``backward``, which
#: imports what it needs (a compiled module, Triton) at first use.
BACKENDS: dict[str, ModuleType] = {
    "reference": reference,
    "native": native,
    "triton": triton,
}


@operator("ladnet_fast::locality_attention")
def attention_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor | None,
    b: Tensor | None,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    prior: str,
    scale: float,
    training: bool,
    impl: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``(out, lse, softmax_out)``.

    ``out`` (B, H, T, d) as `layout.empty_output` lays it out, ``lse`` (B, H, T), and the
    softmax's share of ``out`` when ``training`` with the additive prior, else an empty tensor: the
    backward pass needs <dO, A>, and A = out - G V would lose digits. Only ``out`` has a derivative;
    `api` detaches what else it hands out.
    """
    return BACKENDS[impl].forward(
        q, k, v, w, b, lengths, cu_seqlens, prior=prior, scale=scale, training=training
    )


@attention_forward.register_fake
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor | None,
    b: Tensor | None,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    prior: str,
    scale: float,
    training: bool,
    impl: str,
) -> tuple[Tensor, Tensor, Tensor]:
    softmax_out = empty_output(q) if training and prior == "additive" else q.new_empty(0)
    return empty_output(q), empty_lse(q), softmax_out


@operator("ladnet_fast::locality_attention_backward")
def attention_backward(
    grad_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor | None,
    b: Tensor | None,
    softmax_out: Tensor,
    out: Tensor,
    lse: Tensor,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    prior: str,
    scale: float,
    need_prior_grad: bool,
    impl: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of q, k, v, w and b; the last two empty unless ``need_prior_grad``."""
    dq, dk, dv, dw, db = BACKENDS[impl].backward(
        grad_out, q, k, v, w, b, softmax_out, out, lse, lengths, cu_seqlens,
        prior=prior, scale=scale, need_prior_grad=need_prior_grad,
    )  # fmt: skip
    if dw is None or db is None:
        dw, db = (q.new_empty(0, dtype=lse_dtype(q.dtype)) for _ in range(2))
    return dq, dk, dv, dw, db


@attention_backward.register_fake
def _(
    grad_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor | None,
    b: Tensor | None,
    softmax_out: Tensor,
    out: Tensor,
    lse: Tensor,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    prior: str,
    scale: float,
    need_prior_grad: bool,
    impl: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    heads = q.shape[1] if need_prior_grad else 0
    dw, db = (q.new_empty(heads, dtype=lse_dtype(q.dtype)) for _ in range(2))
    return empty_output(q), empty_output(q), empty_output(q), dw, db


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    q, k, v, w, b, lengths, cu_seqlens, prior, scale, _, impl = inputs
    out, lse, softmax_out = output
    ctx.save_for_backward(q, k, v, w, b, lengths, cu_seqlens, out, lse, softmax_out)
    ctx.set_materialize_grads(False)
    ctx.prior, ctx.scale, ctx.impl = prior, scale, impl


def _differentiate(ctx: Any, grad_out: Tensor | None, *_: Any) -> tuple[Any, ...]:
    if grad_out is None:
        return (None,) * 11
    q, k, v, w, b, lengths, cu_seqlens, out, lse, softmax_out = ctx.saved_tensors
    need_prior_grad = ctx.prior != "none" and any(ctx.needs_input_grad[3:5])
    dq, dk, dv, dw, db = attention_backward(
        grad_out, q, k, v, w, b, softmax_out, out, lse, lengths, cu_seqlens,
        ctx.prior, ctx.scale, need_prior_grad, ctx.impl,
    )  # fmt: skip
    priors = (dw, db) if need_prior_grad else (None, None)
    return (dq, dk, dv, *priors, *(None,) * 6)


_refuse = no_second_derivative("locality_attention has", "impl='reference' outside torch.compile")

attention_forward.register_autograd(_differentiate, setup_context=_setup_context)
attention_backward.register_autograd(_refuse)
