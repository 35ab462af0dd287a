"""Locality-aware attention: softmax attention with a learnable prior of the distance."""

from .api import locality_attention

__all__ = ["locality_attention"]
