"""The video file that features were made from, and its frames per second."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._records import record_of

if TYPE_CHECKING:
    from ..data import Video


def source_of(video: Video) -> Path | None:
    """Return the video file from which ``extract`` or ``score`` made a video's features.

    None if other software made the features, or the file is gone or has changed since.
    """
    made = _made(video)
    if made is None:
        return None
    before = made["video"]
    path = Path(before["path"])
    try:
        status = path.stat()
    except OSError:
        return None
    same = (status.st_size, status.st_mtime_ns) == (before["size"], before["mtime_ns"])
    return path if same else None


def rate_of(video: Video) -> float | None:
    """Return the frame rate at which the frames of a video's snippets were taken.

    That is the rate at which frames were chosen, else the video file's own; None: not known.
    """
    made = _made(video)
    if made is not None and (chosen := made["settings"].get("fps")) is not None:
        return float(chosen)
    source = source_of(video)
    if source is None or importlib.util.find_spec("av") is None:
        return None
    from ..video.decode import frame_rate

    return frame_rate(source)


def _made(video: Video) -> Mapping[str, Any] | None:
    """Return how a video's features were made, by their record; None where there is no record."""
    first = video.features[0]
    record = record_of(first.path) if first.key is None else None
    return record.made if record is not None and record.made.get("kind") == "features" else None
