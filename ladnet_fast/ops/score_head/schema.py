"""torch.library definitions of the score head: schemas, fakes and autograd.

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
from . import reference, triton
from .layout import empty_scores, empty_slopes

#: impl -> the module that serves it; see the same table of locality attention.
BACKENDS: dict[str, ModuleType] = {"reference": reference, "triton": triton}


@operator("ladnet_fast::score_head")
def head_forward(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    lengths: Tensor | None,
    training: bool,
    impl: str,
) -> tuple[Tensor, Tensor]:
    """Return ``(scores, slopes)``.

    ``scores`` (B, T) in the dtype of ``features``; when ``training``, ``slopes`` (B, T) in float32
    (float64 for float64) is the derivative of a score by its logit, 0 on padding, otherwise empty.
    A rounded score close to 1 would not give it back. Only ``scores`` has a derivative.
    """
    return BACKENDS[impl].forward(features, weight, bias, lengths, training=training)


@head_forward.register_fake
def _(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    lengths: Tensor | None,
    training: bool,
    impl: str,
) -> tuple[Tensor, Tensor]:
    return empty_scores(features), empty_slopes(features, training)


@operator("ladnet_fast::score_head_backward")
def head_backward(
    grad_scores: Tensor,
    features: Tensor,
    weight: Tensor,
    slopes: Tensor,
    lengths: Tensor | None,
    need_input: bool,
    need_parameters: bool,
    impl: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of features, weight and bias, contiguous; empty where not needed."""
    grads = BACKENDS[impl].backward(
        grad_scores, features, weight, slopes, lengths,
        need_input=need_input, need_parameters=need_parameters,
    )  # fmt: skip
    dx, dw, db = (weight.new_empty(0) if grad is None else grad for grad in grads)
    return dx, dw, db


@head_backward.register_fake
def _(
    grad_scores: Tensor,
    features: Tensor,
    weight: Tensor,
    slopes: Tensor,
    lengths: Tensor | None,
    need_input: bool,
    need_parameters: bool,
    impl: str,
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        features.new_empty(features.shape if need_input else 0),
        weight.new_empty(weight.shape if need_parameters else 0),
        weight.new_empty(1 if need_parameters else 0),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    features, weight, _, lengths, _, ctx.impl = inputs
    ctx.save_for_backward(features, weight, output[1], lengths)
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, grad_scores: Tensor | None, *_: Any) -> tuple[Any, ...]:
    if grad_scores is None:
        return (None,) * 6
    need_input, need_parameters = ctx.needs_input_grad[0], any(ctx.needs_input_grad[1:3])
    features, weight, slopes, lengths = ctx.saved_tensors
    dx, dw, db = head_backward(
        grad_scores, features, weight, slopes, lengths, need_input, need_parameters, ctx.impl
    )
    return (
        dx if need_input else None,
        *((dw, db) if need_parameters else (None, None)),
        *(None,) * 3,
    )


_refuse = no_second_derivative("score_head has", "impl='reference'")

head_forward.register_autograd(_differentiate, setup_context=_setup_context)
head_backward.register_autograd(_refuse)
