"""Files of an event: a clip, and a picture of its peak."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .._extras import import_extra
from .._files import atomic_path, remove_leftovers
from .alerts import Alert
from .clips import ClipRecorder, free_path, jpeg
from .handoff import Snippet
from .results import Listener, Summary
from .settings import Settings

_Picture = npt.NDArray[np.uint8]


class Evidence:
    """Writes the files of events, where they are wanted, and counts them in a summary.

    Parameters
    ----------
    settings : Settings
        Says what is wanted.
    summary : Summary
        Gets the counts.
    listener : Listener
        Hears what could not be written.
    """

    def __init__(self, settings: Settings, summary: Summary, listener: Listener) -> None:
        self._summary, self._listener = summary, listener
        self._pictures = settings.thumbnails
        self._notes: deque[str] = deque(maxlen=1000)  # clips fail in the reader's thread too
        self.recorder: ClipRecorder | None = None
        for folder in (settings.clips, settings.thumbnails):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                remove_leftovers(folder)
        if settings.clips is not None:
            self.recorder = ClipRecorder(
                settings.clips, before=settings.before, after=settings.after,
                longest=settings.longest_clip, tell=self._notes.append,
            )  # fmt: skip
        self._clip: Path | None = None
        self._thumbnail: Path | None = None
        self._shown = -1.0  # the score of the picture that has been written
        self._best: tuple[float, _Picture] | None = None  # of the run of high scores

    def with_picture_only(self, snippet: Snippet) -> Snippet:
        """Return a snippet that waits for its score with its middle frame, if that is wanted."""
        middle = len(snippet.frames) // 2
        kept = slice(middle, middle + 1) if self._pictures is not None else slice(0)
        return replace(snippet, frames=snippet.frames[kept].copy())

    def scored(self, snippet: Snippet, score: float, begin: float | None) -> None:
        """Take note of a snippet's score; ``begin`` is where its run of high scores began."""
        if self.recorder is not None:
            needed_from = snippet.time if begin is None else begin
            self.recorder.scored(snippet.time + snippet.seconds, needed_from)
        if begin is None or not len(snippet.frames):
            self._best = None if begin is None else self._best
        elif self._best is None or score > self._best[0]:
            self._best = (score, snippet.frames[0])

    def of(self, alert: Alert, name: str, wall: datetime) -> tuple[Path | None, Path | None]:
        """Begin or end an event's files; return the clip's and the picture's."""
        label = f"{Path(name).stem}-{alert.event}"
        if alert.state == "start":
            self._clip = self._thumbnail = None
            self._shown = -1.0
            if self.recorder is not None:
                self._clip = self.recorder.start(label, alert.begin, wall)
        elif self.recorder is not None:
            self.recorder.end(alert.until)
        if self._pictures is not None and self._best is not None and self._best[0] > self._shown:
            self._write_picture(self._pictures, label, wall)
        if alert.state == "end":
            self._best = None
        return self._clip, self._thumbnail

    def cut(self) -> None:
        """End a clip, since its video has ended."""
        if self.recorder is not None:
            self.recorder.cut()

    def tell(self) -> None:
        """Tell the listener what went wrong with clips, and count them."""
        while self._notes:
            self._listener.note(self._notes.popleft())
        if self.recorder is not None:
            self._summary.clips = self.recorder.written
            self._summary.failed_clips = self.recorder.failed

    def _write_picture(self, folder: Path, label: str, wall: datetime) -> None:
        assert self._best is not None
        av = import_extra("av", extra="video", purpose="write thumbnails")
        again = self._thumbnail is not None
        path = self._thumbnail or free_path(folder, label, wall, ".jpg")
        try:
            content = jpeg(self._best[1])
            with atomic_path(path) as temporary:
                temporary.write_bytes(content)
        except (OSError, av.FFmpegError) as error:
            self._summary.failed_thumbnails += 1
            reason = getattr(error, "strerror", None) or error
            self._listener.note(f"{path}: this picture could not be written ({reason})")
            return
        self._thumbnail, self._shown = path, self._best[0]
        self._summary.thumbnails += not again
