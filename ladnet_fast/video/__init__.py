"""Your own videos: decoding, the I3D network, and its features in files that training reads.

Decoding needs PyAV (``pip install 'ladnet-fast[video]'``); it is imported when a video is opened.
"""

from .._allocator import keep_freed_memory
from .decode import read_frames
from .errors import ExtractionError, VideoError, WeightsError
from .extracted import ExtractedVideo
from .extraction import extract_to_files
from .features import extract_features, iter_features, snippet_features
from .i3d import I3D
from .sources import Footage, find_footage

__all__ = [
    "I3D",
    "ExtractedVideo",
    "ExtractionError",
    "Footage",
    "VideoError",
    "WeightsError",
    "extract_features",
    "extract_to_files",
    "find_footage",
    "iter_features",
    "keep_freed_memory",
    "read_frames",
    "snippet_features",
]
