"""Live video: scores and alerts while it goes on.

`StreamScorer` turns rows of features into scores, as they come. `watch` reads a camera, an address,
a file that grows, a folder or a pipe, and calls a `Listener`; it needs PyAV
(``pip install 'ladnet-fast[video]'``).
"""

from .addresses import Source, parse_source
from .alerts import Alarm, Alert, AlertRule
from .extractors import CroppedExtractor, SnippetExtractor, cropped, i3d_extractor
from .loop import watch
from .results import Event, Listener, Score, Summary
from .scorer import DEFAULT_WINDOW, StreamScorer
from .settings import Settings

__all__ = [
    "DEFAULT_WINDOW",
    "Alarm",
    "Alert",
    "AlertRule",
    "CroppedExtractor",
    "Event",
    "Listener",
    "Score",
    "Settings",
    "SnippetExtractor",
    "Source",
    "StreamScorer",
    "Summary",
    "cropped",
    "i3d_extractor",
    "parse_source",
    "watch",
]
