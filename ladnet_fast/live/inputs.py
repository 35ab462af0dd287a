"""Opening a source with PyAV, and its packets and frames until it ends, breaks or is stopped."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt

from .._extras import import_extra
from ..video import VideoError
from ..video.decode import Conversion, picture_stream
from ..video.extractors import Preparation
from ..video.frames import resize
from ..video.not_video import explain_not_a_video
from ..video.orientation import Orientation, orient, orientation_of_frame
from .addresses import Source
from .clock import Clock, Frame
from .growing import GrowingFile, Pipe, SeekableFile, is_mp4

#: A source counts as broken off after this many packets in a row that can't be decoded.
MOST_DAMAGED = 500
_RATES = (1.0, 240.0)

Picture = npt.NDArray[np.uint8]


class LostError(Exception):
    """A source broke off: a camera vanished, a connection was cut, a file is damaged."""


class Input:
    """An open source; a context manager.

    Parameters
    ----------
    source : Source
        Not a folder.
    stop : threading.Event
        Ends waiting for a file's or a pipe's bytes.
    timeout : float
        Seconds that a device or a network may keep silent.
    idle : float
        Seconds without growth that end a file.
    format_name : str or None
        Of FFmpeg, where the content doesn't tell.
    options : mapping of str to str
        Of FFmpeg's format and protocol.

    Raises
    ------
    VideoError
        If it holds no video, or none that FFmpeg reads.
    LostError
        If a device or an address can't be opened now.
    """

    def __init__(
        self,
        source: Source,
        stop: threading.Event,
        *,
        timeout: float,
        idle: float,
        format_name: str | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.source = source
        self.damaged = self.sizes = 0
        self._stop = stop
        self._shape: tuple[int, ...] | None = None
        self._size: tuple[int, int] | None = None
        self._rgb = Conversion()
        with ExitStack() as closing:
            self._container = self._open(closing, timeout, idle, format_name, dict(options or {}))
            self.stream = self._video_stream()
            self._closing = closing.pop_all()
        # Threads that each hold a frame back would delay a live source by as many frames.
        self.stream.thread_type = "SLICE" if source.lasts else "AUTO"
        rate = self.stream.average_rate or self.stream.guessed_rate
        self.rate = float(rate) if rate and _RATES[0] <= rate <= _RATES[1] else None
        self.clock = Clock(rate=self.rate)

    def __enter__(self) -> Input:
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.close()

    @property
    def has_end(self) -> bool:
        """Whether it is a recording, which can wait for its reader without losing frames."""
        if self.source.kind == "network":
            if not self.source.address.lower().startswith("http"):
                return False
            # A recording on a web server says how many bytes it has; of a playlist these say
            # nothing, but its duration is known once it is complete.
            if self._container.format.name in ("hls", "dash"):
                return (self._container.duration or 0) > 0
            return self._container.size > 0
        return self.source.kind != "device"

    def frames(self, on_packet: Callable[[Any, float], None] | None = None) -> Iterator[Frame]:
        """Decode until the source ends.

        Parameters
        ----------
        on_packet : callable, optional
            Called with each packet of the video and its approximate time, after it is decoded.

        Raises
        ------
        LostError
            If it breaks off, or `MOST_DAMAGED` packets in a row can't be decoded. Single damaged
            packets are counted in ``damaged`` and left out.
        """
        av = import_extra("av", extra="video", purpose="watch videos")
        number = in_a_row = 0
        packets = self._container.demux(self.stream)
        while not self._stop.is_set():
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as error:
                raise LostError(f"broke off after frame {number:,} ({_reason(error)})") from error
            if packet is None or self._stop.is_set():
                return
            try:
                decoded = packet.decode()
                in_a_row = 0
            except av.FFmpegError as error:
                self.damaged += 1
                in_a_row += 1
                if in_a_row >= MOST_DAMAGED:
                    raise LostError(
                        f"{in_a_row} packets in a row can't be decoded after frame {number:,} "
                        f"({_reason(error)})"
                    ) from error
                continue
            for frame in decoded:
                yield Frame(frame, number, self.clock.time_of(frame.time))
                number += 1
            if on_packet is not None and packet.size:
                stamp = packet.dts if packet.pts is None else packet.pts
                seconds = None if stamp is None else float(stamp * packet.time_base)
                on_packet(packet, self.clock.near(seconds))

    def picture(self, frame: Frame, prepared: Preparation) -> Picture:
        """Return a frame as RGB (H, W, 3), resized as features are made of it.

        A frame of another size than the first one is brought to the first one's size before, as
        `ladnet_fast.video.read_frames` does; ``sizes`` counts such changes.
        """
        av = import_extra("av", extra="video", purpose="watch videos")
        shown = frame.picture
        try:
            image = self._rgb.of(shown)
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(
                f"{self.source.name}: pictures in {shown.format.name} can't be converted to RGB "
                f"({_reason(error)})"
            ) from error
        image = orient(image, _orientation(shown, self.source.name))
        if self._size is None:
            self._size = image.shape[:2]
        elif image.shape != self._shape:
            self.sizes += 1
        self._shape = image.shape
        image = resize(image, self._size)
        return resize(image, prepared.size_of(*self._size), prepared.filter)

    def _open(
        self,
        closing: ExitStack,
        timeout: float,
        idle: float,
        format_name: str | None,
        options: dict[str, str],
    ) -> Any:
        av = import_extra("av", extra="video", purpose="watch videos")
        source = self.source
        arguments: dict[str, Any] = {"format": format_name, "options": options}
        target: Any = source.address
        if source.kind == "device":
            arguments["format"] = format_name or "v4l2"
            arguments["timeout"] = timeout
        elif source.kind == "network":
            arguments["timeout"] = timeout
            if source.address.lower().startswith("rtsp"):
                options.setdefault("rtsp_transport", "tcp")  # UDP may lose packets
        elif source.kind == "pipe":
            target = Pipe(_descriptor(source, closing), self._stop)
        else:
            if explained := explain_not_a_video(source.address):
                raise VideoError(explained)
            mp4 = is_mp4(source.address)
            if mp4:
                options.setdefault("fflags", "+ignidx")  # don't wait for fragments at its end
            target = (SeekableFile if mp4 else GrowingFile)(source.address, idle, self._stop)
            closing.callback(target.close)
        try:
            container = av.open(target, "r", **arguments)
        except (av.FFmpegError, OSError) as error:
            if self._stop.is_set():
                raise LostError("was stopped while it was being opened") from error
            if source.lasts:
                raise LostError(f"can't be opened ({_reason(error)})") from error
            raise VideoError(_not_readable(source, error)) from error
        closing.callback(container.close)
        return container

    def _video_stream(self) -> Any:
        if (stream := picture_stream(self._container)) is not None:
            return stream
        others = sorted({stream.type for stream in self._container.streams})
        holds = f"it holds {', '.join(others)}" if others else "nothing was found in it"
        raise VideoError(f"{self.source.name}: holds no video stream; {holds}")


def _descriptor(source: Source, closing: ExitStack) -> int:
    if source.address == "-":
        return sys.stdin.fileno()
    number = os.open(source.address, os.O_RDONLY)
    closing.callback(os.close, number)
    return number


def _not_readable(source: Source, error: Exception) -> str:
    if source.kind == "file" and is_mp4(source.address):
        return (
            f"{source.name}: is no complete MP4 file ({_reason(error)}); an MP4 file that is "
            "still written has its index at its end. Record as MPEG-TS (.ts), Matroska (.mkv) "
            "or fragmented MP4 (ffmpeg: -movflags frag_keyframe+empty_moov)"
        )
    return (
        f"{source.name}: not a video that FFmpeg can read ({_reason(error)}); where the content "
        "doesn't tell its format, name it with --input-format"
    )


def _orientation(frame: Any, name: str) -> Orientation:
    try:
        return orientation_of_frame(frame)
    except ValueError as error:
        raise VideoError(f"{name}: its display matrix {error}") from error


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return "no answer in time" if text == "Immediate exit requested" else str(text)
