"""The demo: LA-Net learns from bag labels to find foreign footage in long videos."""

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:
    from .errors import DemoError
    from .features import FeatureExtractor, I3DExtractor
    from .options import DemoOptions
    from .run import DemoProgress, DemoResult, run_demo
else:  # the options alone are what the command line needs for its help
    __getattr__, __dir__ = attach(
        __name__,
        {
            "DemoError": "errors",
            "DemoOptions": "options",
            "DemoProgress": "run",
            "DemoResult": "run",
            "FeatureExtractor": "features",
            "I3DExtractor": "features",
            "run_demo": "run",
        },
    )

__all__ = [
    "DemoError",
    "DemoOptions",
    "DemoProgress",
    "DemoResult",
    "FeatureExtractor",
    "I3DExtractor",
    "run_demo",
]
