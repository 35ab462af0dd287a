"""Decoding a video file to RGB frames, one at a time."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._extras import import_extra
from .._values import count
from .._values import path as checked_path
from .errors import VideoError
from .frames import require_size, resize
from .not_video import explain_not_a_video
from .orientation import Orientation, orient, orientation_of_frame
from .resample import Timed, require_rate, resample

Frame = npt.NDArray[np.uint8]


class Conversion:
    """Conversion to RGB, prepared once per kind of frame instead of once per frame."""

    def __init__(self) -> None:
        self._av = import_extra("av", extra="video", purpose="decode videos")
        self._prepared: tuple[Any, Any] = (None, None)

    def of(self, frame: Any) -> Frame:
        """Return what ``frame.to_ndarray(format="rgb24")`` does, (H, W, 3) uint8."""
        kind = (
            frame.format.name, frame.width, frame.height, frame.colorspace, frame.color_range,
        )  # fmt: skip
        if kind != self._prepared[0]:
            self._prepared = (kind, self._av.video.reformatter.VideoReformatter())
        array: Frame = self._prepared[1].reformat(frame, format="rgb24").to_ndarray()
        return array


def read_frames(
    path: str | os.PathLike[str],
    size: tuple[int, int] | None = None,
    max_frames: int | None = None,
    *,
    fps: float | None = None,
) -> Iterator[Frame]:
    """Decode the frames of a video in the order they are shown.

    Every coded frame is yielded once, whatever its duration, so a variable frame rate is not evened
    out. With ``fps``, each frame is yielded as often as its time at that rate says. Frames
    are turned and mirrored as the file's display matrix says, in all eight ways. The conversion to
    RGB follows the colour tags of the stream (BT.601, limited range, where it has none). Non-square
    pixels are not stretched. Memory holds a few frames, however long the video.

    Parameters
    ----------
    path : path-like
        A video file that FFmpeg can read.
    size : (height, width) or None
        Resize every frame to this size, as `ladnet_fast.video.frames.resize` does. None: the size
        of the first frame, which also holds for later frames should the size change on the way.
    max_frames : int or None
        Stop after this many frames.
    fps : float or None
        Frames per second: the k-th frame is the one that is shown nearest to k / ``fps`` seconds
        after the first; see `ladnet_fast.video.resample.resample`. None: all, once.

    Yields
    ------
    ndarray
        (H, W, 3) uint8 RGB.

    Raises
    ------
    VideoError
        If the file is missing, is not a video, is damaged, or ends before its announced end: before
        the first frame where the file's index shows it (MP4, AVI), else after the frames that could
        be read. Also if its display matrix turns the picture by anything but right angles.
    ladnet_fast._extras.MissingExtraError
        If PyAV is not installed.
    """
    size = None if size is None else require_size(size)
    if max_frames is not None:
        max_frames = count("max_frames", max_frames, allowed="None or at least 1")
    return _read_frames(checked_path("path", path), size, max_frames, require_rate(fps))


def announced_frames(path: str | os.PathLike[str]) -> int | None:
    """Return the number of frames that the file announces, or None if it announces none.

    For progress bars only: containers may be wrong by some frames.

    Raises
    ------
    VideoError
        If the file is missing or is no video.
    """
    path = checked_path("path", path)
    with _open(path) as container:
        stream = _video_stream(container, path)
        if stream.frames:
            return int(stream.frames)
        end = _announced_end(stream)
        rate = stream.average_rate
        return round(end * rate) if end and rate else None


def frame_rate(path: str | os.PathLike[str]) -> float | None:
    """Return the average number of frames per second, or None if the file doesn't say.

    Raises
    ------
    VideoError
        If the file is missing or is no video.
    """
    path = checked_path("path", path)
    with _open(path) as container:
        rate = _video_stream(container, path).average_rate
    return float(rate) if rate else None


def _read_frames(
    path: Path,
    size: tuple[int, int] | None,
    max_frames: int | None,
    rate: Fraction | None = None,
) -> Iterator[Frame]:
    count, total, end = 0, 0, Fraction(0)
    rgb = Conversion()
    with _open(path) as container:
        stream = _video_stream(container, path)
        stream.thread_type = "AUTO"
        _require_indexed_bytes(path, container, stream)

        def decoded() -> Iterator[Any]:
            nonlocal count, end
            for frame in _decode(container, stream, path):
                count += 1
                if frame.pts is not None and frame.time_base is not None:
                    end = max(end, (frame.pts + (frame.duration or 0)) * frame.time_base)
                yield frame

        chosen: Iterator[tuple[Any, int]] = ((frame, 1) for frame in decoded())
        if rate is not None:
            chosen = resample(((_timed(frame, path), frame) for frame in decoded()), rate)
        for frame, times in chosen:
            image = orient(rgb.of(frame), _orientation(frame, path))
            size = size or image.shape[:2]
            image = resize(image, size)
            for _ in range(times):
                yield image
                total += 1
                if total == max_frames:
                    return
        _require_complete(path, container, stream, count, end)


def _timed(frame: Any, path: Path) -> Timed:
    if frame.pts is None or frame.time_base is None:
        raise VideoError(
            f"{path}: its frames have no times, so they can't be chosen by time; leave out --fps "
            "(fps), or write the file anew: " + ffmpeg_command(path, "timed")
        )
    return Timed(frame.pts * frame.time_base, (frame.duration or 0) * frame.time_base)


def _open(path: Path) -> Any:
    av = import_extra("av", extra="video", purpose="decode videos")
    if not path.is_file():
        raise VideoError(explain_not_a_video(path) or f"{path}: no such file")
    try:
        # The full name: FFmpeg takes the start of a name such as "a:b.mp4" for a protocol.
        container = av.open(os.path.abspath(path))
    except av.FFmpegError as error:
        raise VideoError(
            explain_not_a_video(path)
            or f"{path}: not a video that FFmpeg can read, or its end is missing "
            f"({error.strerror}); check that it plays and was copied completely"
        ) from error
    if container.format.name == "tty":  # FFmpeg would draw the letters
        container.close()
        raise VideoError(explain_not_a_video(path) or f"{path}: is text, not a video")
    return container


def _video_stream(container: Any, path: Path) -> Any:
    stream = picture_stream(container)
    if stream is None:
        raise VideoError(
            explain_not_a_video(path) or f"{path}: holds no video stream; is it an audio file?"
        )
    return stream


def picture_stream(container: Any) -> Any:
    """Return the first video stream that is not a cover picture of music, or None."""
    for stream in container.streams.video:
        if not stream.disposition & type(stream.disposition).attached_pic:
            return stream
    return None


def _decode(container: Any, stream: Any, path: Path) -> Iterator[Any]:
    av = import_extra("av", extra="video", purpose="decode videos")
    count = 0
    try:
        for packet in container.demux(stream):
            for frame in packet.decode():
                yield frame
                count += 1
    except av.FFmpegError as error:
        raise VideoError(
            f"{path}: damaged after frame {count:,} ({error.strerror}); {_remedy(path)}"
        ) from error


def _orientation(frame: Any, path: Path) -> Orientation:
    try:
        return orientation_of_frame(frame)
    except ValueError as error:
        raise VideoError(
            f"{path}: its display matrix {error}; write the file without it: "
            + ffmpeg_command(path, "upright", before=["-display_rotation:v:0", "0"], copy=True)
        ) from error


def _announced_end(stream: Any) -> Fraction | None:
    """Return the time in seconds at which the stream ends, as the container says."""
    if tag := stream.metadata.get("DURATION"):  # Matroska and WebM, for example 00:00:04.800000000
        try:
            hours, minutes, seconds = tag.split(":")
            return Fraction(seconds) + 60 * int(minutes) + 3600 * int(hours)
        except ValueError:  # it is free text
            return None
    if stream.duration is not None and stream.time_base is not None:
        return Fraction(stream.duration * stream.time_base)
    return None


def _require_indexed_bytes(path: Path, container: Any, stream: Any) -> None:
    """Raise if the file ends before the last frame of its index, where it has one (MP4, AVI).

    FFmpeg itself just stops there, and may conceal that the last picture is half.
    """
    entries = stream.index_entries
    if not entries:
        return
    last = entries[-1]
    if last.pos + last.size > container.size:
        raise VideoError(
            f"{path}: is cut off: its last frame ends at byte {last.pos + last.size:,}, the file "
            f"at {container.size:,}; {_remedy(path)}"
        )


def _require_complete(path: Path, container: Any, stream: Any, count: int, end: Fraction) -> None:
    """Raise unless all that was announced has been decoded.

    AVI (whose index is lost with its end), Matroska and WebM just stop where they are cut, so
    their announcements are compared, with room for what muxers round.
    """
    if count == 0:
        raise VideoError(f"{path}: its video stream holds no frame")
    kinds = set(container.format.name.split(","))
    if "avi" in kinds and count < 0.99 * stream.frames - 1:
        raise VideoError(
            f"{path}: is cut off: it ends after {count:,} of the {stream.frames:,} frames it "
            f"announces; {_remedy(path)}"
        )
    announced = _announced_end(stream)
    if kinds & {"matroska", "webm"} and announced and end < announced * 99 / 100 - 1:
        raise VideoError(
            f"{path}: is cut off: it ends after {float(end):.1f} of the {float(announced):.1f} "
            f"seconds it announces; {_remedy(path)}"
        )


def _remedy(path: Path) -> str:
    return "copy it again, or keep what can be read, for example with: " + ffmpeg_command(
        path, "mended"
    )


def ffmpeg_command(path: Path, what: str, *, before: Sequence[str] = (), copy: bool = False) -> str:
    """Return a line for the shell that has FFmpeg write ``path`` anew, as NAME-``what``, beside it.

    Parameters
    ----------
    path : Path
        The file. Its full name is used, so no name is taken for an option or a protocol.
    what : str
        Ends the new file's name.
    before : sequence of str
        Options of the input.
    copy : bool
        Keep the coded frames; the suffix then stays. Else they are coded again, as MP4.
    """
    full = Path(os.path.abspath(path))
    new = full.with_name(f"{full.stem}-{what}{full.suffix if copy else '.mp4'}")
    options = ["-c", "copy"] if copy else []
    return shlex.join(["ffmpeg", *before, "-i", str(full), *options, str(new)])
