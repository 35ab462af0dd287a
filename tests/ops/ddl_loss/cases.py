"""Inputs that the tests of every backend share, and the oracle."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from ladnet_fast.ops.ddl_loss import definition
from ladnet_fast.ops.ddl_loss.api import CHOICES

DEFAULTS: dict[str, Any] = {
    "margin": 0.1,
    "topk_divisor": 16,
    "eps": 1e-6,
    "pairing": "batch_mean",
    "select": "topk",
    "detach": "none",
}
#: Every combination of the named choices.
OPTIONS = [
    DEFAULTS | dict(zip(CHOICES, choice, strict=True))
    for choice in itertools.product(*CHOICES.values())
]


def random_bags(
    lengths: list[int], C: int, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw packed scores (total,), features (total, C) and labels (N,), alternating, 1 first."""
    total = sum(lengths)
    scores = torch.rand(total, dtype=torch.float64)
    features = torch.randn(total, C, dtype=torch.float64)
    labels = torch.arange(len(lengths)) % 2 == 0
    return scores.to(dtype), features.to(dtype), labels


def offsets(lengths: list[int]) -> Tensor:
    """Return cu_seqlens of bags packed end to end."""
    return torch.tensor([0, *itertools.accumulate(lengths)])


def pad(rows: Tensor, lengths: list[int], fill: float) -> Tensor:
    """Return (N, max length, ...) with ``fill`` beyond each bag."""
    padded = rows.new_full((len(lengths), max(lengths), *rows.shape[1:]), fill)
    for n, part in enumerate(rows.split(lengths)):
        padded[n, : len(part)] = part
    return padded


def oracle(
    scores: Tensor,
    features: Tensor,
    labels: Tensor,
    cu_seqlens: Tensor,
    weights: Tensor,
    **options: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the terms (3,) and the gradients of ``weights @ terms`` in float64, by autograd."""
    leaves = [x.detach().double().requires_grad_() for x in (scores, features)]
    chosen = definition.Options(**(DEFAULTS | options))
    terms = torch.stack(definition.ddl_terms(*leaves, labels, None, cu_seqlens, chosen))
    grads = torch.autograd.grad(terms @ weights.double(), leaves, materialize_grads=True)
    return (terms.detach(), *grads)
