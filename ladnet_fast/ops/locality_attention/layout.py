"""Memory layout of what the operator returns, the same for every backend and for the fakes.

Results are stored (B, T, H, d) and handed out as (B, H, T, d): merging the heads afterwards is then
a view, as splitting a projection into heads was one before.
"""

from __future__ import annotations

import torch
from torch import Tensor


def empty_output(q: Tensor) -> Tensor:
    """Return an uninitialised (B, H, T, d) tensor like ``q``, stored (B, T, H, d)."""
    B, H, T, d = q.shape
    return q.new_empty_strided((B, H, T, d), (T * H * d, d, H * d, 1))


def lse_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of sums and of the prior: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def empty_lse(q: Tensor) -> Tensor:
    """Return an uninitialised (B, H, T) tensor for the natural logarithm of the softmax's sum."""
    B, H, T, _ = q.shape
    if q.dtype is torch.float32:  # faster to make
        return q.new_empty(B, H, T)
    return q.new_empty(B, H, T, dtype=lse_dtype(q.dtype))


def empty_prior_grad(q: Tensor) -> Tensor:
    """Return an uninitialised (H,) tensor for the gradient of the prior's w or b."""
    return q.new_empty(q.shape[1], dtype=lse_dtype(q.dtype))
