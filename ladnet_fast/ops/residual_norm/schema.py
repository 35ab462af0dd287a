"""torch.library definitions of mask, residual and LayerNorm: schemas, fakes and autograd.

Two operators, forward and backward, so that torch.compile and torch.export see one opaque node
each. A second derivative is refused with an error.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._autograd import no_second_derivative
from .._bags import Bags
from .._impl import check_serves
from .._operator import operator
from . import reference, triton
from .checks import check_saved, check_tensors

#: impl -> the module that serves it; see the same table of locality attention. On CPUs the native
#: linear layers hold the same as a part of their chain: see ``ladnet_fast.ops.linear``.
BACKENDS: dict[str, ModuleType] = {"reference": reference, "triton": triton}


class Call(NamedTuple):
    """The arguments of one call, checked: every backend gets this and trusts it."""

    x: Tensor
    hidden: Tensor
    weight: Tensor
    bias: Tensor
    lengths: Tensor | None
    eps: float
    dtype: torch.dtype
    impl: str

    @classmethod
    def checked(cls, *arguments: Any) -> Call:
        """Return the call, or raise where the kernels could not trust it."""
        x, hidden, weight, bias, lengths, eps, dtype, impl = arguments
        check_tensors(x, hidden, weight, bias, dtype)
        check_serves("residual_norm", impl, BACKENDS[impl].why_not(x, hidden, weight, bias))
        bags = Bags.checked("x", x, x.shape[1], lengths)
        return cls(x, hidden, weight, bias, bags.lengths, eps, dtype, impl)


@operator("ladnet_fast::residual_norm")
def norm_forward(call: Call) -> Tensor:
    """Return the normalised rows (B, T, D), contiguous, in the call's dtype; 0 on padding.

    Nothing else is kept for the backward pass, which reads x and hidden again: their sum would have
    to be written and read, too.
    """
    out: Tensor = BACKENDS[call.impl].forward(call)
    return out


@norm_forward.register_fake
def _(call: Call) -> Tensor:
    return call.x.new_empty(call.x.shape, dtype=call.dtype)


@operator("ladnet_fast::residual_norm_backward")
def norm_backward(
    grad: Tensor, call: Call, need_x: bool, need_hidden: bool, need_parameters: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x, hidden, weight and bias, contiguous; empty where not needed."""
    check_saved(call, grad)
    grads = BACKENDS[call.impl].backward(grad, call, need_x, need_hidden, need_parameters)
    dx, dh, dw, db = (call.weight.new_empty(0) if g is None else g for g in grads)
    return dx, dh, dw, db


@norm_backward.register_fake
def _(
    grad: Tensor, call: Call, need_x: bool, need_hidden: bool, need_parameters: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, hidden, weight = call.x, call.hidden, call.weight
    nothing = weight.new_empty(0).shape
    return (
        x.new_empty(x.shape) if need_x else weight.new_empty(nothing),
        x.new_empty(x.shape, dtype=hidden.dtype) if need_hidden else weight.new_empty(nothing),
        weight.new_empty(weight.shape if need_parameters else nothing),
        weight.new_empty(weight.shape if need_parameters else nothing),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:5])
    ctx.options = inputs[5:]
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, grad: Tensor | None) -> tuple[Any, ...]:
    if grad is None:
        return (None,) * 8
    call = Call(*ctx.saved_tensors, *ctx.options)
    need_x, need_hidden, *rest = ctx.needs_input_grad[:4]
    # A sum's gradient is that of both summands: in one dtype it is written once.
    shared = call.x.dtype == call.hidden.dtype and need_x
    need_parameters = any(rest)
    dx, dh, dw, db = norm_backward(grad, call, need_x, need_hidden and not shared, need_parameters)
    return (
        dx if need_x else None,
        (dx if shared else dh) if need_hidden else None,
        *((dw, db) if need_parameters else (None, None)),
        *(None,) * 4,
    )


_refuse = no_second_derivative("residual_norm has", "impl='reference'")

norm_forward.register_autograd(_differentiate, setup_context=_setup_context)
norm_backward.register_autograd(_refuse)
