"""What the tests of the compiled CPU losses share: a call of both passes, and the error budget."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from ladnet_fast import _native
from ladnet_fast.ops.ddl_loss import closed_form, native

from .cases import DEFAULTS, oracle

NAMES = ("mil", "ranking", "alignment", "grad_scores", "grad_features")

needs_native = pytest.mark.skipif(_native.cpu is None, reason=str(_native.cpu_problem))


def both_passes(
    scores: Tensor,
    features: Tensor,
    labels: Tensor,
    *,
    lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    weights: Tensor | None = None,
    backend: ModuleType = native,
    **options: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the terms (3,) and the gradients of ``weights @ terms``."""
    options = DEFAULTS | options
    weights = torch.ones(3) if weights is None else weights
    bags = (lengths, cu_seqlens)
    terms, score_grads, dynamics = backend.forward(
        scores, features, labels, *bags, training=True, **options
    )
    grads = backend.backward(
        weights.to(terms.dtype), scores, features, *bags, score_grads, dynamics,
        eps=options["eps"], detach=options["detach"],
    )  # fmt: skip
    return (terms, *grads)


def assert_within_budget(
    scores: Tensor, features: Tensor, labels: Tensor, cu_seqlens: Tensor, **options: Any
) -> None:
    """Check every term and gradient: at most twice the reference's own error plus one rounding.

    The reference's error is taken in the tested dtype against float64 with the same inputs.
    """
    weights = torch.tensor([0.7, 1.3, -0.9])
    given = (scores, features, labels)
    layout = {"cu_seqlens": cu_seqlens, "weights": weights}
    actual = both_passes(*given, **layout, **options)
    plain = both_passes(*given, **layout, backend=closed_form, **options)
    exact = oracle(*given, cu_seqlens, weights, **options)
    assert actual[0].dtype == actual[1].dtype == scores.dtype
    assert actual[2].dtype == features.dtype
    flat = [[*result[0], *result[1:]] for result in (actual, plain, exact)]
    for name, a, p, e in zip(NAMES, *flat, strict=True):
        assert a.shape == e.shape, name
        assert torch.isfinite(a).all(), name
        size = e.abs().max()
        if name == "alignment":  # one rounding of df moves its logarithm by eps, however small
            size = size + _mean_score_dynamics(scores, cu_seqlens)
        band = torch.finfo(a.dtype).eps * size
        if a.dtype == torch.float64:  # the oracle is no better than what is tested
            band = 32 * band
        error, own = (a.double() - e).abs().max(), (p.double() - e).abs().max()
        assert error <= 2 * (own + band), (name, float(error), float(own), float(band))


def _mean_score_dynamics(scores: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Return the mean over the bags of their mean ds."""
    bags = scores.double().split(cu_seqlens.diff().tolist())
    return torch.stack([bag.diff().abs().sum() / max(len(bag) - 1, 1) for bag in bags]).mean()
