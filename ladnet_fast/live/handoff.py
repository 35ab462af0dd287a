"""What the thread that reads gives to the one that scores, through a queue that can't grow."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Snippet:
    """Frames that follow one another, for one row of features.

    Attributes
    ----------
    frames : ndarray
        (n, H, W, 3) uint8 RGB, resized to the extractor's short side.
    first_frame : int
        Frames of the video before it.
    time, seconds : float
        When it begins in the video, and how long it lasts.
    arrived : float
        ``time.monotonic()`` when its last frame had been decoded.
    wall : datetime
        The same in UTC.
    """

    frames: npt.NDArray[np.uint8]
    first_frame: int
    time: float
    seconds: float
    arrived: float
    wall: datetime


@dataclass(frozen=True, slots=True)
class Begun:
    """A video begins, or a live source goes on after a break (``again``).

    ``rate`` is in frames per second, None if not known; ``drops`` says whether snippets are
    left out where the machine is too slow.
    """

    name: str
    rate: float | None
    drops: bool
    again: bool = False


@dataclass(frozen=True, slots=True)
class Over:
    """A video has ended, or a live source broke off.

    The reader waits until ``handled`` is set: what it reads next belongs to another video.
    """

    name: str
    lost: bool
    handled: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Note:
    """Something to tell the user."""

    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """The reader has ended: by ``error``, or at the source's end."""

    error: BaseException | None = None


Item = Snippet | Begun | Over | Note | Done


class Handoff:
    """A queue that holds a few snippets; the reader waits, or leaves snippets out.

    Parameters
    ----------
    snippets : int
        Most snippets that wait.
    """

    def __init__(self, snippets: int) -> None:
        self._most = snippets
        self._items: deque[Item] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._closed = False

    def has_room(self) -> bool:
        """Tell whether a snippet could be put without waiting. Only the reader puts any."""
        with self._changed:
            return self._waiting < self._most

    def put(self, item: Item) -> None:
        """Append; a snippet waits for room. Does nothing once closed."""
        with self._changed:
            if isinstance(item, Snippet):
                self._changed.wait_for(lambda: self._closed or self._waiting < self._most)
                self._waiting += 1
            if not self._closed:
                self._items.append(item)
                self._changed.notify_all()

    def get(self, seconds: float) -> Item | None:
        """Take the oldest item; None if none has come after ``seconds``."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._items), seconds):
                return None
            item = self._items.popleft()
            if isinstance(item, Snippet):
                self._waiting -= 1
                self._changed.notify_all()
            return item

    def close(self) -> None:
        """End all waiting; what is put from now on is dropped."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
