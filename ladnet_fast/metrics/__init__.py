"""Frame scores and the field's figures; `evaluate` needs scikit-learn (extra "tools")."""

from .evaluate import ClassMetrics, Metrics, evaluate
from .frames import frame_scores, smooth
from .streaming import FrameAP, FrameAUC

__all__ = [
    "ClassMetrics",
    "FrameAP",
    "FrameAUC",
    "Metrics",
    "evaluate",
    "frame_scores",
    "smooth",
]
