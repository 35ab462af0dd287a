"""Locality attention as a PyTorch function that autograd differentiates: the operator's definition.

Every backend is compared with it, in float64. It materialises the (T, T) matrices.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .layout import lse_dtype


def location_prior(w: Tensor, b: Tensor, T: int) -> Tensor:
    """Return G_ij = exp(-|w (i - j)^2 + b|), shape (H, T, T), in the dtype of ``w``.

    ``w`` and ``b`` have shape (H,). The distance is squared in floating point, where it cannot
    overflow.
    """
    position = torch.arange(T, device=w.device, dtype=w.dtype)
    distance2 = (position[:, None] - position[None, :]).square()  # [T, T]
    return torch.exp(-(w[:, None, None] * distance2 + b[:, None, None]).abs())


def locality_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor | None,
    b: Tensor | None,
    *,
    prior: str,
    scale: float,
    lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return ``(out, lse)``; arguments as in `ladnet_fast.functional.locality_attention`.

    Checked arguments only: this function trusts its caller.
    """
    if cu_seqlens is not None:
        return _packed(q, k, v, w, b, prior=prior, scale=scale, cu_seqlens=cu_seqlens)
    T = q.shape[2]
    valid = attended = None
    if lengths is not None:
        valid = torch.arange(T, device=q.device) < lengths[:, None]  # [B, T]
        # Padded content may be anything, NaN included: it must reach no product, not even one
        # whose result is discarded, because the backward pass would meet it again.
        q, k, v = (torch.where(valid[:, None, :, None], x, 0) for x in (q, k, v))
        # An empty bag attends to its zeros: a softmax over nothing would be NaN.
        attended = (valid | (lengths == 0)[:, None])[:, None, None, :]  # [B, 1, 1, T]

    accumulate = lse_dtype(q.dtype)
    logits = (q @ k.transpose(-1, -2)).to(accumulate) * scale  # [B, H, T, T]
    G = None if w is None or b is None or prior == "none" else location_prior(w, b, T)
    if prior == "logit" and G is not None:
        logits = logits + G
    if attended is not None:
        logits = logits.masked_fill(~attended, -torch.inf)
    weights = logits.softmax(dim=-1)
    if prior == "additive" and G is not None:
        weights = weights + G
    out = weights.to(v.dtype) @ v
    lse = logits.logsumexp(dim=-1)
    if valid is not None:
        out = torch.where(valid[:, None, :, None], out, 0)
    return out, lse


def _packed(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor | None,
    b: Tensor | None,
    *,
    prior: str,
    scale: float,
    cu_seqlens: Tensor,
) -> tuple[Tensor, Tensor]:
    sizes = cu_seqlens.diff().tolist()
    bags = zip(*(x.split(sizes, dim=2) for x in (q, k, v)), strict=True)
    parts = [
        locality_attention(bag_q, bag_k, bag_v, w, b, prior=prior, scale=scale)
        for bag_q, bag_k, bag_v in bags
    ]
    if not parts:  # no bags at all
        return q.clone(), q.new_empty(q.shape[:3], dtype=lse_dtype(q.dtype))
    outs, lses = zip(*parts, strict=True)
    return torch.cat(outs, dim=2), torch.cat(lses, dim=2)
