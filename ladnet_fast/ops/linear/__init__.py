"""The linear layers around attention: projections in front, residual, LayerNorm and MLP behind."""

from .api import projections, residual_mlp, serves, who_serves
from .native import MAX_LAYERS

__all__ = ["MAX_LAYERS", "projections", "residual_mlp", "serves", "who_serves"]
