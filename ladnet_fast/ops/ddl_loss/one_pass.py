"""Training on the CPU in one pass over the features: their gradient is made in the forward pass.

The gradient of the features is that of the alignment alone, times what arrives for that term in the
backward pass, which is nearly always what arrived in the step before: the weight of the term. So
the forward pass writes the gradient for that number while it reads the features, and the backward
pass hands it out if the number arrives. Otherwise, or where the backward pass runs twice, the
gradient is computed in a pass of its own: results have the same bits either way.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from . import native, schema
from .definition import Options

# By weight and dtype of the term: what arrived last, and whether it was what was expected.
_arrived: dict[tuple[float, torch.dtype], tuple[float, bool]] = {}


def ddl_terms(
    scores: Tensor,
    features: Tensor,
    labels: Tensor,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    options: Options,
    alignment_weight: float,
) -> Tensor:
    """Return the terms (3,) as ``schema.ddl_forward`` with the native backend does.

    ``alignment_weight`` is what the caller is about to multiply the alignment by. For plain calls
    whose features require a gradient.
    """
    terms: Tensor = _OnePass.apply(
        scores, features, labels, lengths, cu_seqlens, options, alignment_weight
    )
    return terms


def _expected(weight: float, dtype: torch.dtype) -> float | None:
    """Return what will probably arrive; None if that isn't known, or makes no gradient."""
    first = torch.tensor(weight, dtype=dtype).item()
    value, as_expected = _arrived.get((weight, dtype), (first, True))
    return value if as_expected and value != 0 and math.isfinite(value) else None


def _note(weight: float, dtype: torch.dtype, value: float) -> None:
    before = _arrived.get((weight, dtype), (value, True))[0]
    _arrived[weight, dtype] = (value, value == before)


class _OnePass(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        scores: Tensor,
        features: Tensor,
        labels: Tensor,
        lengths: Tensor | None,
        cu_seqlens: Tensor | None,
        options: Options,
        weight: float,
    ) -> Tensor:
        expected = None if options.detach == "feature" else _expected(weight, scores.dtype)
        terms, score_grads, dynamics, grad_features = native.forward_with_gradient(
            scores, features, labels, lengths, cu_seqlens, **options._asdict(),
            training=True, grad_alignment=expected,
        )  # fmt: skip
        ctx.save_for_backward(scores, features, lengths, cu_seqlens, score_grads, dynamics)
        ctx.options, ctx.weight = options, weight
        # On the context and not saved: whoever gets it should be its only owner, for autograd
        # copies a gradient that it has to share.
        ctx.expected, ctx.grad_features = expected, grad_features
        ctx.set_materialize_grads(False)
        return terms

    @staticmethod
    def backward(ctx: Any, grad_terms: Tensor | None) -> tuple[Any, ...]:
        if grad_terms is None:
            return (None,) * 7
        scores, features, lengths, cu_seqlens, score_grads, dynamics = ctx.saved_tensors
        made, ctx.grad_features = ctx.grad_features, None
        options = ctx.options
        arrived = grad_terms[2].item()
        _note(ctx.weight, scores.dtype, arrived)
        given = (grad_terms, scores, features, lengths, cu_seqlens, score_grads, dynamics)
        if made is None or arrived != ctx.expected or torch.is_grad_enabled():
            # With gradients enabled it is the operator that refuses a second derivative.
            grads = schema.ddl_backward(*given, options.eps, options.detach, native.NAME)
            return (*grads, *(None,) * 5)
        grad_scores = native.backward_of_scores(*given, eps=options.eps, detach=options.detach)
        return (grad_scores, made, *(None,) * 5)
