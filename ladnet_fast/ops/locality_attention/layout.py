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
    return empty_sums(q, B, H, T)


def empty_sums(q: Tensor, *shape: int) -> Tensor:
    """Return an uninitialised tensor in the dtype of sums beside ``q``."""
    return q.new_empty(*shape, dtype=lse_dtype(q.dtype))
