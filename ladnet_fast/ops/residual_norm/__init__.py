"""What follows LANet's attention, fused: mask, residual and LayerNorm."""

from .api import residual_norm, serves

__all__ = ["residual_norm", "serves"]
