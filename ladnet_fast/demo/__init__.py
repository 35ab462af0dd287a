"""The demo: LA-Net learns from bag labels to find foreign footage in long videos."""

from ladnet_fast.demo.errors import DemoError
from ladnet_fast.demo.features import FeatureExtractor, I3DExtractor
from ladnet_fast.demo.options import DemoOptions
from ladnet_fast.demo.run import DemoProgress, DemoResult, run_demo

__all__ = [
    "DemoError",
    "DemoOptions",
    "DemoProgress",
    "DemoResult",
    "FeatureExtractor",
    "I3DExtractor",
    "run_demo",
]
