"""Locality-aware attention: softmax attention with a learnable prior of the distance."""

from .api import attend, locality_attention

__all__ = ["attend", "locality_attention"]
