"""Inputs that the tests of every backend share, the oracle, and the error budget."""

from __future__ import annotations

import torch
from torch import Tensor

from ladnet_fast.ops.score_head import reference

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
    scores = reference.score_head(*leaves, lengths)
    grads = torch.autograd.grad(scores, leaves, grad.to(dtype), materialize_grads=True)
    return dict(zip(NAMES, (scores.detach(), *grads), strict=True))


def assert_within_budget(
    got: dict[str, Tensor], inputs: tuple[Tensor, ...], grad: Tensor, lengths: Tensor | None
) -> None:
    """Check every result: at most twice the reference's own error plus one rounding.

    The sums over snippets cancel: what is rounded on their way is as large as the root of the sum
    of the squares of what is added up.
    """
    exact = differentiate(inputs, grad, lengths, torch.float64)
    plain = differentiate(inputs, grad, lengths, inputs[0].dtype)
    scores, x = exact["scores"], inputs[0].detach().double().nan_to_num()
    slope = (grad.double().nan_to_num() * scores * (1 - scores)).square().sum().sqrt()
    sizes = {"weight": slope * _largest(x), "bias": slope}
    for name, e in exact.items():
        a = got[name]
        assert a.shape == e.shape
        assert a.dtype == inputs[0].dtype
        assert torch.isfinite(a).all(), name
        band = torch.finfo(a.dtype).eps * max(float(sizes.get(name, 0)), float(_largest(e)))
        error, own = _largest(a.double() - e), _largest(plain[name].double() - e)
        assert error <= 2 * (own + band), (name, float(error), float(own), band)


def _largest(x: Tensor) -> Tensor:
    return x.abs().max() if x.numel() else x.new_zeros(())
