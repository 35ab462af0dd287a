"""torch.library definitions of the native linear layers: schemas, fakes and autograd.

torch.compile and torch.export see one opaque node for each. `api` has already decided that
the native kernels serve; otherwise plain PyTorch layers run and these operators do not appear. A
second derivative is refused with an error.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

from torch import Tensor

from .._autograd import no_second_derivative
from .._bags import Bags
from .._operator import operator
from . import definition, native

#: impl -> the module that says whether it can serve. The operators below are the native one's.
BACKENDS: dict[str, ModuleType] = {"reference": definition, "native": native}

# ---- Projections -------------------------------------------------------------------------------


class Projections(NamedTuple):
    """The arguments of a call: the lengths have been checked, `chain.Chain` checks the rest."""

    x: Tensor
    weights: list[Tensor]
    biases: list[Tensor]
    lengths: Tensor | None

    @classmethod
    def checked(cls, x: Tensor, *others: Any) -> Projections:
        """Return the call, or raise where the lengths don't fit ``x``."""
        weights, biases, lengths = others
        return cls(x, weights, biases, Bags.checked("x", x, x.shape[1], lengths).lengths)


@operator("ladnet_fast::linear_projections")
def projections(call: Projections) -> list[Tensor]:
    """Return x W^T + b for every weight; see `native.projections_forward`."""
    return native.projections_forward(call)


@projections.register_fake
def _(call: Projections) -> list[Tensor]:
    B, T, _ = call.x.shape
    return [call.x.new_empty(B, T, w.shape[0]) for w in call.weights]


@operator("ladnet_fast::linear_projections_backward")
def projections_backward(
    grads: list[Tensor], call: Projections, need_input: bool, need_parameters: bool
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Return the gradients of x, weights and biases; empty where they are not needed."""
    return native.projections_backward(grads, call, need_input, need_parameters)


@projections_backward.register_fake
def _(
    grads: list[Tensor], call: Projections, need_input: bool, need_parameters: bool
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    grad_x = call.x.new_empty(call.x.shape if need_input else 0)
    return grad_x, *_fake_parameters(call.weights, need_parameters)


def _projections_context(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    x, weights, biases, lengths = inputs
    ctx.save_for_backward(x, lengths, *weights, *biases)
    ctx.count = len(weights)


def _differentiate_projections(ctx: Any, grads: list[Tensor]) -> tuple[Any, ...]:
    x, lengths, *parameters = ctx.saved_tensors
    call = Projections(x, parameters[: ctx.count], parameters[ctx.count :], lengths)
    need_x = ctx.needs_input_grad[0]
    need_parameters = any(ctx.needs_input_grad[1]) or any(ctx.needs_input_grad[2])
    dx, dw, db = projections_backward(list(grads), call, need_x, need_parameters)
    return (
        dx if need_x else None,
        *((dw, db) if need_parameters else _no_parameters(ctx.count)),
        None,
    )


# ---- Residual, LayerNorm and MLP ---------------------------------------------------------------


class ResidualMLP(NamedTuple):
    """The arguments of a call: the lengths have been checked, `chain.Chain` checks the rest."""

    x: Tensor
    residual: Tensor
    norm_weight: Tensor
    norm_bias: Tensor
    weights: list[Tensor]
    biases: list[Tensor]
    keeps: list[Tensor]
    keep_scale: float
    eps: float
    lengths: Tensor | None

    @classmethod
    def checked(cls, x: Tensor, *others: Any) -> ResidualMLP:
        """Return the call, or raise where the lengths don't fit ``x``."""
        *given, lengths = others
        return cls._make((x, *given, Bags.checked("x", x, x.shape[1], lengths).lengths))


@operator("ladnet_fast::residual_mlp")
def residual_mlp(call: ResidualMLP, training: bool) -> tuple[Tensor, list[Tensor]]:
    """Return the features and what each GELU was applied to.

    The second is empty unless ``training``, and not differentiable; see
    `native.residual_mlp_forward`.
    """
    return native.residual_mlp_forward(call, training)


@residual_mlp.register_fake
def _(call: ResidualMLP, training: bool) -> tuple[Tensor, list[Tensor]]:
    B, T, _ = call.x.shape
    outputs = [call.x.new_empty(B, T, w.shape[0]) for w in call.weights[1:]]
    return outputs[-1], outputs[:-1] if training else []


@operator("ladnet_fast::residual_mlp_backward")
def residual_mlp_backward(
    grad: Tensor,
    call: ResidualMLP,
    pres: list[Tensor],
    need_input: bool,
    need_residual: bool,
    need_parameters: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor], list[Tensor]]:
    """Return the gradients of x, residual, norm weight and bias, weights, biases.

    Empty where they are not needed.
    """
    return native.residual_mlp_backward(
        grad, call, pres, need_input, need_residual, need_parameters
    )


@residual_mlp_backward.register_fake
def _(
    grad: Tensor,
    call: ResidualMLP,
    pres: list[Tensor],
    need_input: bool,
    need_residual: bool,
    need_parameters: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor], list[Tensor]]:
    x, norm = call.x, call.norm_weight.shape if need_parameters else 0
    return (
        x.new_empty(x.shape if need_input else 0),
        x.new_empty(call.residual.shape if need_residual else 0),
        x.new_empty(norm),
        x.new_empty(norm),
        *_fake_parameters(call.weights, need_parameters),
    )


def _residual_mlp_context(
    ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, list[Tensor]]
) -> None:
    call = ResidualMLP._make(inputs[:-1])
    ctx.save_for_backward(
        *call[:4], call.lengths, *call.weights, *call.biases, *call.keeps, *output[1]
    )
    ctx.count, ctx.masks = len(call.weights), len(call.keeps)
    ctx.options = call.keep_scale, call.eps
    ctx.set_materialize_grads(False)


def _differentiate_residual_mlp(ctx: Any, grad: Tensor | None, _: Any) -> tuple[Any, ...]:
    n = ctx.count
    if grad is None:
        return (*(None,) * 4, *_no_parameters(n), [None] * ctx.masks, *(None,) * 4)
    *first, lengths = ctx.saved_tensors[:5]
    rest = list(ctx.saved_tensors[5:])
    weights, biases, rest = rest[:n], rest[n : 2 * n], rest[2 * n :]
    keeps, pres = rest[: ctx.masks], rest[ctx.masks :]
    need_x, need_residual, *need_norm = ctx.needs_input_grad[:4]
    need_parameters = any((*need_norm, *ctx.needs_input_grad[4], *ctx.needs_input_grad[5]))
    call = ResidualMLP._make((*first, weights, biases, keeps, *ctx.options, lengths))
    dx, dresidual, dgamma, dbeta, dw, db = residual_mlp_backward(
        grad, call, pres, need_x, need_residual, need_parameters
    )
    return (
        dx if need_x else None,
        dresidual if need_residual else None,
        *((dgamma, dbeta, dw, db) if need_parameters else (None, None, *_no_parameters(n))),
        [None] * ctx.masks,
        *(None,) * 4,
    )


# ---- Shared ------------------------------------------------------------------------------------


def _fake_parameters(weights: list[Tensor], wanted: bool) -> tuple[list[Tensor], list[Tensor]]:
    return (
        [w.new_empty(w.shape if wanted else 0) for w in weights],
        [w.new_empty(w.shape[0] if wanted else 0) for w in weights],
    )


def _no_parameters(count: int) -> tuple[list[None], list[None]]:
    return [None] * count, [None] * count


_refuse = no_second_derivative("the native linear layers have", "impl='reference'")

projections.register_autograd(_differentiate_projections, setup_context=_projections_context)
projections_backward.register_autograd(_refuse)
residual_mlp.register_autograd(_differentiate_residual_mlp, setup_context=_residual_mlp_context)
residual_mlp_backward.register_autograd(_refuse)
