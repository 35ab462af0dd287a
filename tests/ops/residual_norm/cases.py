"""Inputs that the tests of every backend share, the oracle, and what is off by too much."""

from __future__ import annotations

import torch
from torch import Tensor

from ladnet_fast.ops.residual_norm import definition
from tests import budget

NAMES = ("out", "x", "hidden", "weight", "bias")
EPS = 1e-5


def random_rows(
    B: int,
    T: int,
    D: int,
    dtype: torch.dtype = torch.float64,
    hidden_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw x, hidden, weight and bias from the current seed; rows have means of their own."""
    x, hidden = (torch.randn(B, T, D, dtype=torch.float64) for _ in range(2))
    x = x + 3 * torch.randn(B, T, 1, dtype=torch.float64)
    weight, bias = (torch.randn(D, dtype=torch.float64) for _ in range(2))
    return x.to(dtype), hidden.to(hidden_dtype or dtype), weight.to(dtype), bias.to(dtype)


def differentiate(
    inputs: tuple[Tensor, ...],
    grad: Tensor,
    lengths: Tensor | None,
    out: torch.dtype,
    wide: torch.dtype | None = None,
) -> dict[str, Tensor]:
    """Return the result in a dtype and all gradients, by autograd; all in ``wide`` if given."""
    leaves = [x.detach().to(wide or x.dtype).requires_grad_() for x in inputs]
    dtype = wide or out
    result = definition.residual_norm(*leaves, lengths, EPS, dtype)
    grads = torch.autograd.grad(result, leaves, grad.to(dtype), materialize_grads=True)
    return dict(zip(NAMES, (result.detach(), *grads), strict=True))


def assert_within_budget(
    got: dict[str, Tensor], inputs: tuple[Tensor, ...], grad: Tensor, lengths: Tensor | None
) -> None:
    """Check every result, see `tests.budget`; padding must be 0 in ``grad``."""
    exact = differentiate(inputs, grad, lengths, torch.float64, torch.float64)
    plain = differentiate(inputs, grad, lengths, got["out"].dtype)
    assert [got[name].dtype for name in NAMES[1:]] == [x.dtype for x in inputs]
    sizes = budget.residual_norm_sizes(*inputs[:2], grad, EPS)
    named = dict(zip(("weight", "bias"), sizes, strict=True))
    budget.assert_within(got, exact, plain, budget.at_least_the_values(named, exact))
