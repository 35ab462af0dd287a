"""Frame scores and the field's figures; `evaluate` needs scikit-learn (extra "tools")."""

from ladnet_fast.metrics.evaluate import ClassMetrics, Metrics, evaluate
from ladnet_fast.metrics.frames import frame_scores, smooth
from ladnet_fast.metrics.streaming import FrameAP, FrameAUC

__all__ = [
    "ClassMetrics",
    "FrameAP",
    "FrameAUC",
    "Metrics",
    "evaluate",
    "frame_scores",
    "smooth",
]
