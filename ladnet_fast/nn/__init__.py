"""LA-Net and its layers."""

from .attention import LocalityAttention
from .lanet import LANet, LANetOutput
from .prior import LocationPrior

__all__ = ["LANet", "LANetOutput", "LocalityAttention", "LocationPrior"]
