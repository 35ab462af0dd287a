"""torch.library definitions of the score head: schemas, fakes and autograd.

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
from .checks import check_dtypes, check_saved, check_tensors
from .layout import empty_scores, empty_slopes

#: impl -> the module that serves it; see the same table of locality attention.
BACKENDS: dict[str, ModuleType] = {"reference": reference, "native": native, "triton": triton}


class Call(NamedTuple):
    """The arguments of one call, checked: every backend gets this and trusts it."""

    features: Tensor
    weight: Tensor
    bias: Tensor
    lengths: Tensor | None
    training: bool
    impl: str

    @classmethod
    def checked(cls, *arguments: Any) -> Call:
        """Return the call, or raise where the kernels could not trust it."""
        features, weight, bias, lengths, training, impl = arguments
        check_tensors(features, weight, bias)
        check_dtypes(features, weight, bias)
        check_serves("score_head", impl, BACKENDS[impl].why_not(features, weight, bias))
        bags = Bags.checked("features", features, features.shape[1], lengths)
        return cls(features, weight, bias, bags.lengths, training, impl)

    @property
    def keeps_slopes(self) -> bool:
        """Whether the forward pass leaves slopes; the native one finds them in the scores."""
        return self.training and self.impl != native.NAME


@operator("ladnet_fast::score_head")
def head_forward(call: Call) -> tuple[Tensor, Tensor]:
    """Return ``(scores, slopes)``.

    ``scores`` (B, T) in the dtype of ``features``; if the call keeps them, ``slopes`` (B, T) in
    float32 (float64 for float64) is the derivative of a score by its logit, 0 on padding, otherwise
    empty. A rounded score close to 1 would not give it back. Only ``scores`` has a derivative.
    """
    return BACKENDS[call.impl].forward(call)


@head_forward.register_fake
def _(call: Call) -> tuple[Tensor, Tensor]:
    return empty_scores(call.features), empty_slopes(call.features, call.keeps_slopes)


@operator("ladnet_fast::score_head_backward")
def head_backward(
    grad_scores: Tensor,
    call: Call,
    scores: Tensor,
    slopes: Tensor,
    need_input: bool,
    need_parameters: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of features, weight and bias, contiguous; empty where not needed."""
    saved = slopes if call.keeps_slopes else scores
    check_saved(call, grad_scores, saved)
    grads = BACKENDS[call.impl].backward(grad_scores, call, saved, need_input, need_parameters)
    dx, dw, db = (call.weight.new_empty(0) if grad is None else grad for grad in grads)
    return dx, dw, db


@head_backward.register_fake
def _(
    grad_scores: Tensor,
    call: Call,
    scores: Tensor,
    slopes: Tensor,
    need_input: bool,
    need_parameters: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    features, weight = call.features, call.weight
    return (
        features.new_empty(features.shape if need_input else 0),
        weight.new_empty(weight.shape if need_parameters else 0),
        weight.new_empty(1 if need_parameters else 0),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:4], *output)
    ctx.options = inputs[4:]
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, grad_scores: Tensor | None, *_: Any) -> tuple[Any, ...]:
    if grad_scores is None:
        return (None,) * 6
    need_input, need_parameters = ctx.needs_input_grad[0], any(ctx.needs_input_grad[1:3])
    *inputs, scores, slopes = ctx.saved_tensors
    dx, dw, db = head_backward(
        grad_scores, Call(*inputs, *ctx.options), scores, slopes, need_input, need_parameters
    )
    return (
        dx if need_input else None,
        *((dw, db) if need_parameters else (None, None)),
        *(None,) * 3,
    )


_refuse = no_second_derivative("score_head has", "impl='reference'")

head_forward.register_autograd(_differentiate, setup_context=_setup_context)
head_backward.register_autograd(_refuse)
