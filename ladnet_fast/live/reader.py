"""The thread that reads a source and makes snippets, across ends, breaks and damaged files."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import numpy as np

from ..video import VideoError
from ..video.resample import unusual
from .addresses import Source
from .clips import ClipRecorder
from .clock import Clock, Frame, at_rate
from .extractors import SnippetExtractor
from .folder import arriving_files
from .handoff import Begun, Done, Handoff, Note, Over, Snippet
from .inputs import Input, LostError, Picture
from .settings import Settings

_LONGEST_BREAK = 60.0


@dataclass
class ReaderCounts:
    """What the reader has counted.

    Attributes
    ----------
    videos : int
        Opened, each connection of a live source once.
    frames : int
        Decoded (with ``fps``: frames at that rate).
    dropped : int
        Of these, left out because the machine was too slow; only of live sources.
    incomplete : int
        Of these, at the end of a video or connection, fewer than a snippet.
    damaged : int
        Packets that could not be decoded.
    size_changes : int
        Frames of another size than the one before.
    reconnects : int
        Connections after the first one.
    failures : list of (name, reason)
        Files that can't be read, or not to their end, and a live source that is lost for good.
        The first thousand.
    failed : int
        How many there are.
    """

    videos: int = 0
    frames: int = 0
    dropped: int = 0
    incomplete: int = 0
    damaged: int = 0
    size_changes: int = 0
    reconnects: int = 0
    failed: int = 0

    def __post_init__(self) -> None:
        self.failures: list[tuple[str, str]] = []

    def fail(self, name: str, reason: str) -> None:
        """Count a failure."""
        self.failed += 1
        if len(self.failures) < 1000:
            self.failures.append((name, reason))


class Reader(threading.Thread):
    """Reads a source in a thread of its own and puts what it finds into ``out``.

    Parameters
    ----------
    source : Source
        What to read.
    settings : Settings
        How.
    extractor : SnippetExtractor
        Gives the size and number of the frames of a snippet.
    out : Handoff
        Where snippets go.
    stop : threading.Event
        Ends it.
    recorder : ClipRecorder or None
        Gets every packet.
    """

    def __init__(
        self,
        source: Source,
        settings: Settings,
        extractor: SnippetExtractor,
        out: Handoff,
        stop: threading.Event,
        recorder: ClipRecorder | None = None,
    ) -> None:
        # A daemon: FFmpeg may wait for a camera for some seconds more after the end is wanted.
        super().__init__(name="ladnet-fast reader", daemon=True)
        self.counts = ReaderCounts()
        self._source, self._settings = source, settings
        self._each, self._prepared = extractor.frames_per_snippet, extractor.preparation
        self._out, self._stop_event = out, stop
        self._recorder = recorder
        self._start_time = time.monotonic()
        self._reached = 0.0  # where the last frame of a live source ended

    def run(self) -> None:
        """Read until the source's end; an error is raised in the thread that takes the items."""
        try:
            if self._source.kind == "folder":
                self._folder()
            elif self._source.lasts:
                self._connections()
            else:
                self._recording(self._source, first=True)
        except BaseException as error:
            self._out.put(Done(error))
        else:
            self._out.put(Done())

    def _folder(self) -> None:
        settings = self._settings
        for path in arriving_files(
            self._source.address,
            self._stop_event,
            settle=settings.settle,
            idle=settings.idle,
            skip_existing=settings.skip_existing,
        ):
            self._recording(Source("file", str(path), str(path)), idle=0.0)

    def _recording(self, source: Source, *, first: bool = False, idle: float | None = None) -> None:
        """Read a file or a pipe to its end; a file of a folder that fails is only counted.

        A single source that can't be opened at all is an error.
        """
        if idle is None:
            idle = 10.0 if self._settings.idle is None else self._settings.idle
        try:
            with self._open(source, idle) as video:
                self._read(video, again=False)
        except (VideoError, LostError, OSError) as error:
            if first and not self.counts.videos:
                raise VideoError(_named(source, error)) from error
            self._fail(source, error)

    def _connections(self) -> None:
        """Read a camera or an address again and again; wait longer after each failed attempt."""
        vain, settings, source = 0, self._settings, self._source
        while not self._stop_event.is_set():
            before, recording = self.counts.frames, False
            try:
                with self._open(source, 0.0) as video:
                    recording = video.has_end
                    self.counts.reconnects += self.counts.videos > 0
                    self._read(video, again=self.counts.videos > 0)
                if recording:
                    return
                reason: Exception = LostError("the stream ended")
            except (LostError, OSError) as error:
                reason = error
                if recording:  # it would begin anew
                    self._fail(source, error)
                    return
            except VideoError as error:
                if not self.counts.videos:
                    raise
                reason = error  # a camera that starts may send sound before pictures
            if self._stop_event.is_set():
                return
            if not self.counts.videos:
                raise VideoError(_named(source, reason)) from reason
            vain = 0 if self.counts.frames > before else vain + 1
            if vain >= settings.reconnect:
                again = (
                    f" after {vain} failed attempt{'s'[: vain > 1]} to reconnect" if vain else ""
                )
                self._fail(source, LostError(f"is lost{again}: {reason}"))
                return
            pause = min(settings.backoff * 2 ** min(vain, 16), _LONGEST_BREAK)
            self._out.put(Note(f"{_named(source, reason)}; connecting again in {pause:.3g} s"))
            self._stop_event.wait(pause)

    def _open(self, source: Source, idle: float) -> Input:
        settings = self._settings
        return Input(
            source,
            self._stop_event,
            timeout=settings.timeout,
            idle=idle,
            format_name=settings.input_format,
            options=settings.input_options,
        )

    def _read(self, video: Input, *, again: bool) -> None:
        source, counts = video.source, self.counts
        if source.lasts and not video.has_end:
            elapsed = time.monotonic() - self._start_time
            # A sender may be faster than real time; times must grow all the same.
            video.clock = Clock(max(elapsed, self._reached), video.rate)
        drops = self._settings.drop
        if drops is None:
            drops = not video.has_end
        counts.videos += 1
        fps, rate = self._settings.fps, video.rate
        self._out.put(Begun(source.name, fps or rate, drops, again))
        if fps is None and (note := unusual(rate)) is not None:
            self._out.put(Note(f"{source.name} {note}"))
        if self._recorder is not None:
            self._recorder.begin(video)
        over = Over(source.name, lost=source.lasts and not video.has_end)
        try:
            for snippet in self._snippets(video, drops):
                self._out.put(snippet)
        except (LostError, VideoError, OSError):
            over = Over(source.name, lost=True)
            raise
        finally:
            counts.damaged += video.damaged
            counts.size_changes += video.sizes
            self._out.put(over)
            # The next video's packets must not reach a clip of this one.
            while not self._stop_event.is_set() and not over.handled.wait(0.2):
                pass
        if video.damaged and not source.lasts:
            some = "packet" if video.damaged == 1 else "packets"
            self._fail(source, LostError(f"{video.damaged} {some} can't be decoded"))

    def _snippets(self, video: Input, drops: bool) -> Iterator[Snippet]:
        counts, begin = self.counts, Frame(None, 0, 0.0)
        pending: list[Picture] = []
        on_packet = None if self._recorder is None else self._recorder.add
        frames = video.frames(on_packet)
        if self._settings.fps is not None:
            frames = at_rate(frames, self._settings.fps)
        step = 1 / (self._settings.fps or video.rate or 25.0)
        try:
            for frame in frames:
                counts.frames += 1
                self._reached = frame.time + step
                # Whole snippets are left out: 16 frames that follow one another show motion at
                # its own speed, and whoever scores gets the newest ones.
                if not pending and drops and not self._out.has_room():
                    counts.dropped += 1
                    continue
                if not pending:
                    begin = replace(frame, picture=None)
                pending.append(video.picture(frame, self._prepared))
                if len(pending) == self._each:
                    yield _snippet(pending, begin, frame.time + step - begin.time)
                    pending = []
        finally:
            counts.incomplete += len(pending)

    def _fail(self, source: Source, error: Exception) -> None:
        reason = _named(source, error)
        self.counts.fail(source.name, reason)
        self._out.put(Note(reason))


def _snippet(pictures: list[Picture], begin: Frame, seconds: float) -> Snippet:
    return Snippet(
        np.stack(pictures), begin.number, begin.time, seconds, time.monotonic(),
        datetime.now(timezone.utc),
    )  # fmt: skip


def _named(source: Source, error: Exception) -> str:
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    return text if text.startswith(source.name) else f"{source.name}: {text}"
