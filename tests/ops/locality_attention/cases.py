"""Inputs that the tests of every backend share, and the oracle."""

from __future__ import annotations

import torch
from torch import Tensor

from ladnet_fast.ops.locality_attention import definition

#: (w, b) a head: narrow, wide, peaked away from the diagonal, constant, instantly dead.
PRIORS = {
    "narrow": (0.5, 0.0),
    "wide": (0.002, 0.1),
    "authors": (-0.00728, -0.0237),
    "off-diagonal": (-0.05, 1.3),
    "constant": (0.0, 0.7),
    "dead": (1e6, 3.0),
}


def random_qkv(B: int, H: int, T: int, d: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Draw q, k, v from the current seed."""
    return [torch.randn(B, H, T, d, dtype=torch.float64).to(dtype) for _ in range(3)]


def prior_tensors(name: str, H: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Return (w, b) of a named prior, slightly different for every head."""
    w, b = PRIORS[name]
    factor = 1 + 0.1 * torch.arange(H, dtype=torch.float64)
    return (w * factor).to(dtype), (b * factor).to(dtype)


def oracle(
    q: Tensor, k: Tensor, v: Tensor, w: Tensor, b: Tensor, grad_out: Tensor, **options: object
) -> tuple[Tensor, ...]:
    """Return out and the gradients of q, k, v, w, b in float64, by autograd on the reference."""
    leaves = [x.detach().double().requires_grad_() for x in (q, k, v, w, b)]
    options = {"scale": q.shape[-1] ** -0.5, **options}
    out, _ = definition.locality_attention(*leaves, **options)
    grads = torch.autograd.grad(out, leaves, grad_out.double(), materialize_grads=True)
    return (out.detach(), *grads)
