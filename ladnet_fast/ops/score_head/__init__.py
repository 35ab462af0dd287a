"""LANet's score head, fused: causal convolution to one channel, sigmoid, mask."""

from .api import score_head, serves

__all__ = ["score_head", "serves"]
