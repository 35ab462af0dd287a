"""The linear layers around attention: projections in front, residual, LayerNorm and MLP behind."""

from .api import projections, residual_mlp, serves, who_serves

__all__ = ["projections", "residual_mlp", "serves", "who_serves"]
