"""What the tests of the compiled losses share: a call of both passes, and what it must give."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from ladnet_fast import _native
from ladnet_fast.ops.ddl_loss import native, reference
from tests import budget

from .cases import DEFAULTS, oracle

NAMES = ("mil", "ranking", "alignment", "grad_scores", "grad_features")
#: Of the terms whose gradients are checked.
WEIGHTS = torch.tensor([0.7, 1.3, -0.9])

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
    """Run both passes and check every term and gradient, see `assert_results_within_budget`.

    Float64 is served as well, and must come back as it was given.
    """
    given = (scores, features, labels)
    actual = both_passes(*given, cu_seqlens=cu_seqlens, weights=WEIGHTS, **options)
    assert actual[0].dtype == actual[1].dtype == scores.dtype
    assert actual[2].dtype == features.dtype
    assert_results_within_budget(actual, given, cu_seqlens, **options)


def assert_results_within_budget(
    actual: tuple[Tensor, ...],
    given: tuple[Tensor, Tensor, Tensor],
    cu_seqlens: Tensor,
    **options: Any,
) -> None:
    """Check the terms, and the gradients of ``WEIGHTS @ terms``, of packed bags.

    ``given`` are scores, features and labels; the budget is that of `tests.budget`.
    """
    layout = {"cu_seqlens": cu_seqlens, "weights": WEIGHTS}
    plain = both_passes(*given, **layout, backend=reference, **options)
    exact = oracle(*given, **layout, **options)
    got, truth, plain = (
        dict(zip(NAMES, (*result[0], *result[1:]), strict=True))
        for result in (actual, exact, plain)
    )
    sizes = budget.ddl_sizes(truth, given[0], cu_seqlens.diff().tolist())
    budget.assert_within(got, truth, plain, sizes)
