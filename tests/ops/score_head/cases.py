"""Inputs that the tests of every backend share, the oracle, and what is off by too much."""

from __future__ import annotations

import torch
from torch import Tensor

from ladnet_fast.ops.score_head import definition
from tests import budget

NAMES = ("scores", "features", "weight", "bias")


def random_head(
    B: int, T: int, C: int, K: int, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw features, weight and bias from the current seed; logits have a variance of about 1."""
    features = torch.randn(B, T, C, dtype=torch.float64)
    weight = torch.randn(1, C, K, dtype=torch.float64) / (C * K) ** 0.5
    return features.to(dtype), weight.to(dtype), torch.randn(1, dtype=torch.float64).to(dtype)


def differentiate(
    inputs: tuple[Tensor, ...], grad: Tensor, lengths: Tensor | None, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Return the scores and the gradients of the reference in a dtype, by autograd."""
    leaves = [x.detach().to(dtype).requires_grad_() for x in inputs]
    scores = definition.score_head(*leaves, lengths)
    grads = torch.autograd.grad(scores, leaves, grad.to(dtype), materialize_grads=True)
    return dict(zip(NAMES, (scores.detach(), *grads), strict=True))


def assert_within_budget(
    got: dict[str, Tensor], inputs: tuple[Tensor, ...], grad: Tensor, lengths: Tensor | None
) -> None:
    """Check every result, see `tests.budget`; padding must be 0 in ``grad``."""
    exact = differentiate(inputs, grad, lengths, torch.float64)
    plain = differentiate(inputs, grad, lengths, inputs[0].dtype)
    assert {x.dtype for x in got.values()} == {inputs[0].dtype}
    sizes = budget.score_head_sizes(exact["scores"], grad, inputs[0])
    named = dict(zip(("weight", "bias"), sizes, strict=True))
    budget.assert_within(got, exact, plain, budget.at_least_the_values(named, exact))
