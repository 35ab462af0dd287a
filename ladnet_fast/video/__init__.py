"""Own videos: decoding, the I3D network, and its features in the files that training reads.

Decoding needs PyAV (``pip install 'ladnet-fast[video]'``); it is imported when a video is opened.
"""

from ladnet_fast._allocator import keep_freed_memory
from ladnet_fast.video.decode import read_frames
from ladnet_fast.video.errors import ExtractionError, VideoError, WeightsError
from ladnet_fast.video.extracted import ExtractedVideo
from ladnet_fast.video.extraction import extract_to_files
from ladnet_fast.video.features import extract_features, iter_features, snippet_features
from ladnet_fast.video.i3d import I3D
from ladnet_fast.video.sources import Footage, find_footage

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
