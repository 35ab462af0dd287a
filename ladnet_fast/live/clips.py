"""Clips of events: the coded packets of the last seconds, and a file while an event lasts."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from .._extras import import_extra
from .._files import atomic_path
from .inputs import Input

#: Bytes of packets that are kept for the start of a clip; beyond them the oldest go.
MOST_BYTES = 64 << 20
#: Codecs whose clips are MP4 files, which browsers play; others become Matroska.
_IN_MP4 = ("h264", "hevc", "av1", "mpeg4")


class ClipRecorder:
    """Keeps packets as they came, and writes those of an event to a file; nothing is coded again.

    One thread adds packets, another one begins and ends clips. A clip begins at the last key frame
    at or before the wanted time. Packets wait for the scores of their time, so what a clip holds
    does not depend on how far scores lag behind. A file appears when it is complete. A clip that
    fails (a full disk) is counted and reported, and the next clip is tried again.

    Parameters
    ----------
    folder : Path
        Created if needed. Files in it are never replaced.
    before, after : float
        Seconds before an event and after it.
    longest : float
        Most seconds of a clip.
    tell : callable
        Called with one message for each clip that fails.
    """

    def __init__(
        self,
        folder: Path,
        *,
        before: float,
        after: float,
        longest: float,
        tell: Callable[[str], None],
    ) -> None:
        self._folder, self._tell = folder, tell
        self._before, self._after, self._longest = before, after, longest
        self._lock = threading.Lock()
        self._ring: deque[tuple[float, Any]] = deque()
        self._bytes = 0
        self._keep_from = self._scored = 0.0
        self._stream: Any = None
        self._clip: _Clip | None = None
        self.written = self.failed = 0

    def begin(self, video: Input) -> None:
        """Say that packets of another video follow."""
        with self._lock:
            self._ring.clear()
            self._bytes, self._keep_from, self._scored = 0, 0.0, 0.0
            self._stream = video.stream

    def add(self, packet: Any, time: float) -> None:
        """Take the next packet, already decoded, and its approximate time."""
        with self._lock:
            self._ring.append((time, packet))
            self._bytes += packet.size
            if self._clip is not None:
                self._clip.wait(packet, time)
                self._write()
            self._forget()

    def scored(self, until: float, needed_from: float) -> None:
        """Say that scores have come up to ``until``, and that no event begins before another time.

        Packets before ``until`` are written where an event has a clip; those that no clip needs,
        which may begin ``before`` seconds before ``needed_from``, may go.
        """
        with self._lock:
            self._scored = max(self._scored, until)
            self._keep_from = max(self._keep_from, needed_from - self._before)
            self._write()
            self._forget()

    def start(self, name: str, begin: float, wall: datetime) -> Path | None:
        """Begin the clip of an event.

        Parameters
        ----------
        name : str
            For the file's name.
        begin : float
            Time of the event's begin.
        wall : datetime
            For the file's name.

        Returns
        -------
        Path or None
            The file that will appear; None where it could not be begun.
        """
        with self._lock:
            self._finish()
            suffix = ".mp4" if self._stream.codec_context.name in _IN_MP4 else ".mkv"
            path = free_path(self._folder, name, wall, suffix)
            try:
                self._clip = _Clip(path, self._stream, begin + self._longest)
            except Exception as error:
                self._failed(path, error)
                return None
            for time, packet in self._from_key_frame(begin - self._before):
                self._clip.wait(packet, time)
            self._write()
            return path if self._clip is not None else None

    def end(self, until: float) -> None:
        """Let the clip end ``after`` seconds after ``until``, when packets of then have come."""
        with self._lock:
            if self._clip is not None:
                self._clip.until = min(self._clip.until, until + self._after)
                self._write()

    def cut(self) -> None:
        """End the clip now, since no more packets of its video come."""
        with self._lock:
            self._scored = math.inf
            self._write()
            self._finish()
            self._ring.clear()
            self._bytes = 0

    def _write(self) -> None:
        """Write the packets up to the last score; finish the clip when they go beyond it."""
        while (clip := self._clip) is not None and clip.waiting:
            time, _ = clip.waiting[0]
            if time > clip.until:
                self._finish()
            elif time >= self._scored and clip.waiting_bytes <= MOST_BYTES:
                return
            else:
                self._write_next(clip)

    def _write_next(self, clip: _Clip) -> None:
        try:
            clip.write_next()
        except Exception as error:
            self._clip = None
            clip.abandon(error)
            self._failed(clip.path, error)

    def _finish(self) -> None:
        clip, self._clip = self._clip, None
        if clip is None:
            return
        try:
            clip.close()
            self.written += 1
        except Exception as error:
            self._failed(clip.path, error)

    def _failed(self, path: Path, error: Exception) -> None:
        """Count what went wrong with a clip, where that is a matter of disks or of codecs."""
        av = import_extra("av", extra="video", purpose="write clips")
        if not isinstance(error, (av.FFmpegError, OSError, ValueError)):
            raise error
        self.failed += 1
        reason = getattr(error, "strerror", None) or error
        self._tell(f"{path}: this clip could not be written ({reason})")

    def _from_key_frame(self, time: float) -> list[tuple[float, Any]]:
        packets = list(self._ring)
        start = 0
        for i, (at, packet) in enumerate(packets):
            if packet.is_keyframe and (at <= time or not packets[start][1].is_keyframe):
                start = i
        return packets[start:] if packets and packets[start][1].is_keyframe else []

    def _forget(self) -> None:
        """Let go of groups of pictures that no clip needs, and of the oldest beyond the limit."""
        while self._ring:
            following = next(
                (at for i, (at, packet) in enumerate(self._ring) if i and packet.is_keyframe), None
            )
            needed = following is None or following > self._keep_from
            if needed and self._bytes <= MOST_BYTES:
                return
            self._bytes -= self._ring.popleft()[1].size
            while self._ring and not self._ring[0][1].is_keyframe:
                self._bytes -= self._ring.popleft()[1].size


class _Clip:
    """A file that is being written under a temporary name, and packets that wait for it."""

    def __init__(self, path: Path, stream: Any, until: float) -> None:
        av = import_extra("av", extra="video", purpose="write clips")
        self.path, self.until = path, until
        self.waiting: deque[tuple[float, Any]] = deque()
        self.waiting_bytes = 0
        self._last: int | None = None
        self._first: int | None = None
        with ExitStack() as opening:
            temporary = opening.enter_context(atomic_path(path))
            # A file of Python's: a full disk is an error of a write, and not lost in FFmpeg.
            file = opening.enter_context(temporary.open("wb"))
            name = "mp4" if path.suffix == ".mp4" else "matroska"
            self._container = av.open(file, "w", format=name)
            opening.callback(self._container.close)
            self._stream = self._container.add_stream_from_template(stream)
            self._opened = opening.pop_all()

    def wait(self, packet: Any, time: float) -> None:
        """Let a packet wait until it is certain to belong to the clip."""
        self.waiting.append((time, packet))
        self.waiting_bytes += packet.size

    def write_next(self) -> None:
        """Append the packet that has waited longest; times begin at the clip's and grow."""
        _, packet = self.waiting.popleft()
        self.waiting_bytes -= packet.size
        if self._first is None and not packet.is_keyframe:
            return  # no player could show what precedes a key frame
        stamp = packet.dts if packet.dts is not None else packet.pts
        if stamp is None:
            stamp = 0 if self._last is None else self._last + 1
        if self._first is None:
            self._first = stamp
        decode = stamp - self._first
        if self._last is not None:
            decode = max(decode, self._last + 1)
        self._last = decode
        shown = packet.pts - self._first if packet.pts is not None else decode
        av = import_extra("av", extra="video", purpose="write clips")
        copy = av.Packet(bytes(packet))  # the ring's own keeps its times
        copy.time_base = packet.time_base
        copy.dts, copy.pts = decode, max(shown, decode)
        copy.duration = packet.duration or 0
        copy.is_keyframe = packet.is_keyframe
        copy.stream = self._stream
        self._container.mux(copy)

    def close(self) -> None:
        """Complete the file; it appears under its name."""
        self._opened.close()

    def abandon(self, error: Exception) -> None:
        """Remove what has been written."""
        av = import_extra("av", extra="video", purpose="write clips")
        # Completing a file on a full disk fails once more; the first error is the one that counts.
        with suppress(av.FFmpegError, OSError):
            self._opened.__exit__(type(error), error, error.__traceback__)


def free_path(folder: Path, name: str, wall: datetime, suffix: str) -> Path:
    """Return a file in ``folder`` that isn't there: time in UTC, then ``name``.

    Parameters
    ----------
    folder : Path
        May not exist yet.
    name : str
        Any text; what a file's name can't hold is left out.
    wall : datetime
        In UTC.
    suffix : str
        With its point.
    """
    plain = "".join(char if char.isalnum() or char in "-_." else "-" for char in name)
    stem = f"{wall:%Y%m%dT%H%M%SZ}-{plain[-80:].strip('-.') or 'event'}"
    path, number = folder / f"{stem}{suffix}", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    return path


def jpeg(picture: Any) -> bytes:
    """Return a picture (H, W, 3) uint8 RGB as a JPEG file."""
    av = import_extra("av", extra="video", purpose="write thumbnails")
    # Sides of an even length, as the codec's colours have half the resolution.
    even = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
    codec = av.CodecContext.create("mjpeg", "w")
    codec.height, codec.width = even.shape[:2]
    codec.pix_fmt, codec.time_base = "yuvj420p", Fraction(1, 25)
    codec.options = {"strict": "unofficial"}
    frame = av.VideoFrame.from_ndarray(even.copy(), format="rgb24").reformat(format="yuvj420p")
    packets = codec.encode(frame) + codec.encode(None)
    return b"".join(bytes(packet) for packet in packets)
