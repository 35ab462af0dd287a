"""Small pictures of a video where its scores are highest."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._extras import import_extra
from .._values import count
from ..metrics.frames import finite_vector
from ..video.decode import picture_stream
from ..video.orientation import Orientation, orient, orientation_of_frame

HEIGHT = 90
_WIDEST = 2.4  # width over height; what is wider is cut at both sides
_QUANTISER = 6  # of JPEG, from 1 (best) to 31


class PictureError(ValueError):
    """A video file gives no picture; the message names it and why."""


def peaks(scores: ArrayLike, most: int = 5) -> list[int]:
    """Choose the snippets that a video is shown by: its highest scores, apart from one another.

    Parameters
    ----------
    scores : array_like, (T,)
        One score per snippet.
    most : int
        How many at most, at least 0.

    Returns
    -------
    list of int
        Snippets, the highest score first, earlier ones first among equals. Each is a local maximum
        with at least half of the highest score, and any two are more than a twelfth of the video
        apart.
    """
    curve = finite_vector("scores", scores)
    most = count("most", most, least=0)
    apart = len(curve) // 12
    free = np.ones(len(curve), bool)
    before = np.concatenate([[-np.inf], curve[:-1]])
    after = np.concatenate([curve[1:], [-np.inf]])
    top = (curve >= before) & (curve >= after)
    chosen: list[int] = []
    for snippet in np.argsort(-curve, kind="stable").tolist():
        if len(chosen) >= most or curve[snippet] < curve.max() / 2:
            break
        if top[snippet] and free[snippet]:
            chosen.append(snippet)
            free[max(0, snippet - apart) : snippet + apart + 1] = False
    return chosen


def pictures_of(video: str | os.PathLike[str], seconds: Iterable[float]) -> list[bytes]:
    """Return a JPEG of the frame that is shown at each of these times, 90 pixels high.

    Pictures are turned and mirrored as the file says. Only the frames from the last key frame
    before each time are decoded.

    Parameters
    ----------
    video : path-like
        A video file that FFmpeg can read.
    seconds : iterable of float
        Times since the first frame. Beyond the last frame, the last frame.

    Raises
    ------
    PictureError
        If the file can't be read, or has no frame there.
    MissingExtraError
        If PyAV is not installed (extra "video").
    """
    av = import_extra("av", extra="video", purpose="show pictures of videos")
    path = Path(video)
    try:
        # The full name: FFmpeg takes the start of a name such as "a:b.mp4" for a protocol.
        with av.open(os.path.abspath(path)) as container:
            stream = picture_stream(container)
            if stream is None:
                raise PictureError(f"{path}: has no video stream")
            stream.thread_type = "AUTO"
            return [_jpeg(_frame_at(container, stream, time, path)) for time in seconds]
    except (av.FFmpegError, OSError) as error:
        raise PictureError(f"{path}: gives no picture ({error.strerror or error})") from error


def _frame_at(container: Any, stream: Any, time: float, path: Path) -> Any:
    start = stream.start_time or 0
    wanted = start + int(time / stream.time_base)
    container.seek(wanted, stream=stream, backward=True)
    shown = None
    for frame in container.decode(stream):
        if frame.pts is not None and frame.pts > wanted and shown is not None:
            break
        shown = frame
    if shown is None:
        raise PictureError(f"{path}: gives no picture (no frame at {time:.3f} s)")
    return shown


def _jpeg(frame: Any) -> bytes:
    """Shrink a frame, turn it, and code it."""
    import av

    turned = _orientation(frame)
    shape = float(getattr(frame, "sample_aspect_ratio", None) or 1)
    wide, high = frame.width * shape, float(frame.height)
    if turned.transpose:
        wide, high = high, wide
    size = (max(2, round(HEIGHT * wide / high)), HEIGHT)
    coded = size[::-1] if turned.transpose else size
    small = frame.reformat(width=coded[0], height=coded[1], format="rgb24", interpolation="AREA")
    image = orient(small.to_ndarray(), turned)
    spare = image.shape[1] - int(_WIDEST * HEIGHT)
    if spare > 0:
        image = image[:, spare // 2 : image.shape[1] - (spare + 1) // 2]
    image = np.ascontiguousarray(image[:, : image.shape[1] // 2 * 2])
    picture = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuvj420p")
    picture.pts = 0
    coder: Any = av.CodecContext.create("mjpeg", "w")
    coder.width, coder.height, coder.pix_fmt = picture.width, picture.height, "yuvj420p"
    coder.time_base = Fraction(1, 25)
    coder.qmin = coder.qmax = _QUANTISER
    return b"".join(bytes(packet) for packet in [*coder.encode(picture), *coder.encode(None)])


def _orientation(frame: Any) -> Orientation:
    try:
        return orientation_of_frame(frame)
    except ValueError as error:
        raise PictureError(f"its display matrix {error}") from error
