"""Shapes and dtypes of the operator's results, the same for every backend and for the fakes."""

from __future__ import annotations

import torch
from torch import Tensor


def slope_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of sums and of saved slopes: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def empty_scores(features: Tensor) -> Tensor:
    """Return an uninitialised (B, T) tensor in the dtype of ``features`` (B, T, C)."""
    return features.new_empty(features.shape[:2])


def empty_slopes(features: Tensor, wanted: bool) -> Tensor:
    """Return an uninitialised tensor for d score / d logit, (B, T) if wanted, else empty."""
    return features.new_empty(
        features.shape[:2] if wanted else 0, dtype=slope_dtype(features.dtype)
    )
