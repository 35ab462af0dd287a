"""Live video: scores and alerts while it goes on.

`StreamScorer` turns rows of features into scores, as they come. `watch` reads a camera, an address,
a file that grows, a folder or a pipe, and calls a `Listener`; it needs PyAV
(``pip install 'ladnet-fast[video]'``).
"""

from .addresses import Source, parse_source
from .alerts import Alarm, Alert, AlertRule
from .i3d import I3DExtractor
from .loop import watch
from .results import Event, Extractor, Listener, Score, Summary
from .scorer import DEFAULT_WINDOW, StreamScorer
from .settings import Settings

__all__ = [
    "DEFAULT_WINDOW",
    "Alarm",
    "Alert",
    "AlertRule",
    "Event",
    "Extractor",
    "I3DExtractor",
    "Listener",
    "Score",
    "Settings",
    "Source",
    "StreamScorer",
    "Summary",
    "parse_source",
    "watch",
]
