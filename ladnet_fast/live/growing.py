"""Files that are still written and pipes, as PyAV reads them: a read waits for more."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable

_POLL = 0.1
#: A file last changed this many seconds before it is opened is complete: reads don't wait for more.
_LONG_AGO = 60.0


class GrowingFile:
    """A file whose reads wait at its end until it has grown.

    Parameters
    ----------
    path : str
        A regular file.
    idle : float
        Seconds without growth after which the end counts as the end; 0: at once.
    stop : threading.Event
        Ends a wait.
    """

    def __init__(self, path: str, idle: float, stop: threading.Event) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115
        self._idle, self._stop = idle, stop
        status = os.fstat(self._file.fileno())
        self._complete = time.time() - status.st_mtime > max(idle, _LONG_AGO)
        self._size = status.st_size
        self._grew = time.monotonic()

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes; none at the end, or when asked to stop."""
        while not self._stop.is_set():
            if data := self._file.read(size):
                return data
            now = time.monotonic()
            length = os.fstat(self._file.fileno()).st_size
            if length != self._size:
                self._size, self._grew, self._complete = length, now, False
            if self._complete or now - self._grew >= self._idle:
                break
            self._stop.wait(_POLL)
        return b""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class SeekableFile(GrowingFile):
    """A growing file with seeking, for the one family of formats (MP4) that may need it.

    With other formats FFmpeg would seek to the end for the length, and wait there.
    """

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to another place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place in bytes."""
        return self._file.tell()


class Pipe:
    """The reading end of a pipe; a read waits for bytes, the writer's end, or to be stopped.

    Parameters
    ----------
    number : int
        File descriptor; the caller closes it.
    stop : threading.Event
        Ends a wait.
    """

    def __init__(self, number: int, stop: threading.Event) -> None:
        self._number, self._stop = number, stop
        self._ready: Callable[[], bool] = self._is_ready if os.name == "posix" else lambda: True

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes; none when the writer has closed its end."""
        while not self._stop.is_set():
            if self._ready():
                return os.read(self._number, size)
        return b""

    def _is_ready(self) -> bool:
        return bool(select.select([self._number], [], [], _POLL)[0])


def is_mp4(path: str) -> bool:
    """Tell by its first bytes whether a file is of the MP4 and MOV family."""
    with open(path, "rb") as file:
        head = file.read(8)
    return head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip")
