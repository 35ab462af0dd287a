"""The attention's reference for any length: a block of query rows at a time.

It repeats the formulas of the reference line for line, in whatever dtype it is given, but holds
only a slice of each (T, T) matrix; the backward pass computes a slice again. So the float64 oracle
reaches lengths at which the reference itself would need tens of gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ladnet_fast.ops._bags import Bags
from ladnet_fast.ops.locality_attention.layout import lse_dtype

#: Elements of a slice: 128 MiB in float64.
_SLICE = 2**24


def attention_rows(
    q: Tensor,
    positions: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor | None,
    b: Tensor | None,
    prior: str,
    scale: float,
) -> Tensor:
    """Attend from some rows to a whole bag.

    Parameters
    ----------
    q : Tensor
        (B, H, R, d), the queries of R snippets.
    positions : Tensor
        (R,) integer, where these snippets are in the bag.
    k, v : Tensor
        (B, H, T, d).
    w, b : Tensor or None
        (H,), the prior's parameters.
    prior, scale
        As in `ladnet_fast.functional.locality_attention`.

    Returns
    -------
    Tensor
        (B, H, R, d).
    """
    logits = (q @ k.mT).to(lse_dtype(q.dtype)) * scale
    G = None
    if prior != "none" and w is not None and b is not None:
        columns = torch.arange(k.shape[2], device=k.device, dtype=w.dtype)
        distance2 = (positions.to(w.dtype)[:, None] - columns).square()  # [R, T]
        G = torch.exp(-(w[:, None, None] * distance2 + b[:, None, None]).abs())
    if prior == "logit" and G is not None:
        logits = logits + G
    weights = logits.softmax(dim=-1)
    if prior == "additive" and G is not None:
        weights = weights + G
    return weights.to(v.dtype) @ v


def blockwise_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    prior_w: Tensor | None = None,
    prior_b: Tensor | None = None,
    *,
    prior: str = "additive",
    scale: float | None = None,
    lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    impl: str = "reference",
) -> Tensor:
    """Compute `ladnet_fast.functional.locality_attention` of full bags, block by block.

    ``impl`` is taken and not looked at, so that this can stand in for the public function.
    """
    if lengths is not None or cu_seqlens is not None:
        raise ValueError("full bags only: leave lengths and cu_seqlens out")
    B, H, T, d = q.shape
    scale = d**-0.5 if scale is None else scale
    size = max(1, _SLICE // max(1, B * H * T))
    outs = []
    for start in range(0, T, size):
        positions = torch.arange(start, min(start + size, T), device=q.device)
        rows = q[:, :, start : start + size]
        arguments = (rows, positions, k, v, prior_w, prior_b, prior, scale)
        if torch.is_grad_enabled():
            outs.append(checkpoint(attention_rows, *arguments, use_reentrant=False))
        else:
            outs.append(attention_rows(*arguments))
    return torch.cat(outs, dim=2)


@contextmanager
def blockwise_networks() -> Iterator[None]:
    """Let every LANet in the block use `blockwise_attention`."""

    def attend(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        w: Tensor | None,
        b: Tensor | None,
        bags: Bags,
        **options: Any,
    ) -> Tensor:
        options |= {"lengths": bags.lengths, "cu_seqlens": bags.cu_seqlens}
        return blockwise_attention(q, k, v, w, b, **options)

    with mock.patch("ladnet_fast.nn.attention.attend", attend):
        yield
