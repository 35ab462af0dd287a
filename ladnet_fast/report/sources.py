"""The video file that features were made from, and its frames a second."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from .._records import record_of

if TYPE_CHECKING:
    from ..data import Video


def source_of(video: Video) -> Path | None:
    """Return the video file from which ``extract`` or ``score`` made a video's features.

    None where the features are somebody else's, or the file is gone or has changed since.
    """
    record = record_of(video.features[0].path) if video.features[0].key is None else None
    if record is None or record.made.get("kind") != "features":
        return None
    before = record.made["video"]
    path = Path(before["path"])
    try:
        status = path.stat()
    except OSError:
        return None
    same = (status.st_size, status.st_mtime_ns) == (before["size"], before["mtime_ns"])
    return path if same else None


def rate_of(video: Path) -> float | None:
    """Return a video file's frames a second; None where it, or PyAV, doesn't tell."""
    if importlib.util.find_spec("av") is None:
        return None
    from ..video.decode import frame_rate

    return frame_rate(video)
