"""torch.library definitions of locality attention: schemas, fakes and autograd.

Two operators, forward and backward, so that torch.compile and torch.export see one opaque node
each. A second derivative is refused with an error.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

from torch import Tensor

from .._autograd import no_second_derivative
from .._bags import Bags
from .._impl import check_serves
from .._operator import operator
from . import native, reference, triton
from .checks import check_tensors
from .layout import empty_lse, empty_output, lse_dtype

#: impl -> the module that serves it: one file with ``why_not``, ``forward`` and ``backward``, which
#: imports what it needs (a compiled module, Triton) at first use. ``backward`` checks what is said
#: to be left by the forward pass: hooks on saved tensors may return anything.
BACKENDS: dict[str, ModuleType] = {
    "reference": reference,
    "native": native,
    "triton": triton,
}


class Call(NamedTuple):
    """The arguments of one call, checked: every backend gets this and trusts it.

    Whoever makes one says that its arguments have been checked; `Call.checked` does it.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    w: Tensor | None
    b: Tensor | None
    lengths: Tensor | None
    cu_seqlens: Tensor | None
    prior: str
    scale: float
    training: bool
    impl: str

    @classmethod
    def checked(cls, *arguments: Any) -> Call:
        """Return the call, or raise where the kernels could not trust it."""
        q, k, v, w, b, lengths, cu_seqlens, prior, scale, training, impl = arguments
        check_tensors(q, k, v, w, b, prior)
        bags = Bags.checked("q", q, q.shape[2], lengths, cu_seqlens)
        check_serves("locality_attention", impl, BACKENDS[impl].why_not(q, k, v))
        if prior == "none":
            w = b = None
        return cls(q, k, v, w, b, bags.lengths, bags.cu_seqlens, prior, scale, training, impl)


@operator("ladnet_fast::locality_attention")
def attention_forward(call: Call) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``(out, lse, softmax_out)``.

    ``out`` (B, H, T, d) as `layout.empty_output` lays it out, ``lse`` (B, H, T), and the
    softmax's share of ``out`` when ``training`` with the additive prior, else an empty tensor: the
    backward pass needs <dO, A>, and A = out - G V would lose digits (native kernels compute it anew
    where bags are short, and leave zeros). Only ``out`` has a derivative;
    `api` detaches what else it hands out.
    """
    out, lse, softmax_out = BACKENDS[call.impl].forward(call)
    return out, lse, call.q.new_empty(0) if softmax_out is None else softmax_out


@attention_forward.register_fake
def _(call: Call) -> tuple[Tensor, Tensor, Tensor]:
    q = call.q
    softmax_out = empty_output(q) if call.training and call.prior == "additive" else q.new_empty(0)
    return empty_output(q), empty_lse(q), softmax_out


@operator("ladnet_fast::locality_attention_backward")
def attention_backward(
    grad_out: Tensor,
    call: Call,
    softmax_out: Tensor,
    out: Tensor,
    lse: Tensor,
    need_prior_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of q, k, v, w and b; the last two empty unless ``need_prior_grad``."""
    attended = softmax_out if call.prior == "additive" else out
    dq, dk, dv, dw, db = BACKENDS[call.impl].backward(
        grad_out, call, attended, lse, need_prior_grad and call.prior != "none"
    )
    if dw is None or db is None:
        dw, db = (call.q.new_empty(0, dtype=lse.dtype) for _ in range(2))
    return dq, dk, dv, dw, db


@attention_backward.register_fake
def _(
    grad_out: Tensor,
    call: Call,
    softmax_out: Tensor,
    out: Tensor,
    lse: Tensor,
    need_prior_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    q = call.q
    heads = q.shape[1] if need_prior_grad else 0
    dw, db = (q.new_empty(heads, dtype=lse_dtype(q.dtype)) for _ in range(2))
    return empty_output(q), empty_output(q), empty_output(q), dw, db


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    out, lse, softmax_out = output
    ctx.save_for_backward(*inputs[:7], out, lse, softmax_out)
    ctx.set_materialize_grads(False)
    ctx.options = inputs[7:]


def _differentiate(ctx: Any, grad_out: Tensor | None, *_: Any) -> tuple[Any, ...]:
    if grad_out is None:
        return (None,) * 11
    *inputs, out, lse, softmax_out = ctx.saved_tensors
    call = Call(*inputs, *ctx.options)
    need_prior_grad = call.prior != "none" and any(ctx.needs_input_grad[3:5])
    dq, dk, dv, dw, db = attention_backward(grad_out, call, softmax_out, out, lse, need_prior_grad)
    priors = (dw, db) if need_prior_grad else (None, None)
    return (dq, dk, dv, *priors, *(None,) * 6)


_refuse = no_second_derivative("locality_attention has", "impl='reference' outside torch.compile")

attention_forward.register_autograd(_differentiate, setup_context=_setup_context)
attention_backward.register_autograd(_refuse)
