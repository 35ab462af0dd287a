"""The alignment as a correlation: score and feature dynamics compared within each bag.

This project's own form, not the paper's. PyTorch computes it for every impl: it takes a small part
of a training step's time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .definition import feature_dynamics, padded_bags

#: Keeps the root's derivative finite where a bag's dynamics don't vary.
_TINY = 1e-16


def correlation_loss(
    scores: Tensor,
    features: Tensor,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    detach: str,
) -> Tensor:
    """Return (1/N) sum_i (1 - c_i), c_i = corr_t(ds_t, df_t) over the pairs of bag i.

    c_i is 0 where one side doesn't vary, and in a bag with fewer than two pairs. Checked arguments
    only; ``features`` are computed with in the dtype of ``scores``.
    """
    if cu_seqlens is None:
        bags = padded_bags(scores, features, lengths, None)
        ds = torch.where(bags.pairs, (bags.scores[:, :-1] - bags.scores[:, 1:]).abs(), 0)
        df = torch.where(bags.pairs, feature_dynamics(bags.features), 0)
        N, pairs = bags.scores.shape[0], bags.pairs
        bag = torch.arange(N, device=scores.device)[:, None].expand(pairs.shape)
        ds, df, pairs, bag = (x.reshape(-1) for x in (ds, df, pairs, bag))
    else:
        N = cu_seqlens.shape[0] - 1
        row = torch.arange(scores.shape[0], device=scores.device)
        owner = torch.bucketize(row, cu_seqlens[1:].to(row.dtype), right=True)
        bag, pairs = owner[:-1], owner[:-1] == owner[1:]
        ds = torch.where(pairs, (scores[:-1] - scores[1:]).abs(), 0)
        df = torch.where(pairs, feature_dynamics(features.to(scores.dtype)[None])[0], 0)
    ds = ds.detach() if detach == "score" else ds
    df = df.detach() if detach == "feature" else df

    def sums(x: Tensor) -> Tensor:
        return x.new_zeros(N).index_add(0, bag, x)

    count = sums(pairs.to(ds.dtype)).clamp(min=1)
    a, b = (torch.where(pairs, x - (sums(x) / count)[bag], 0) for x in (ds, df))
    norm = (sums(a * a) * sums(b * b) + _TINY).sqrt()
    return (1 - sums(a * b) / norm).mean()
