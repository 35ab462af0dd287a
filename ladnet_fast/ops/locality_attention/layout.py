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
    return q.new_empty(B, T, H, d).transpose(1, 2)


def lse_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of sums and of the prior: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def empty_lse(q: Tensor) -> Tensor:
    """Return an uninitialised (B, H, T) tensor for the natural logarithm of the softmax's sum."""
    return q.new_empty(q.shape[:3], dtype=lse_dtype(q.dtype))
