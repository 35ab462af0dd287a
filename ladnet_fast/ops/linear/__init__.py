"""The linear layers around attention: projections in front, residual, LayerNorm and MLP behind."""

from .api import projections, residual_mlp, serves, who_serves
from .native import MAX_LAYERS
from .rule import how_to_repeat

__all__ = [
    "MAX_LAYERS",
    "how_to_repeat",
    "projections",
    "residual_mlp",
    "serves",
    "who_serves",
]
