"""What a watch finds, and the listener that hears it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from .alerts import Alert
from .reader import ReaderCounts


@dataclass(frozen=True, slots=True)
class Score:
    """The score of a snippet.

    Attributes
    ----------
    source : str
        The source's name; the file's in a folder.
    snippet : int
        Number of the snippet in its video, from 0; snippets that were left out don't count.
    first_frame : int
        Frames of the video before it, those that were left out included.
    time, seconds : float
        When it begins in the video (of a live source: since the watch began), and how long it is.
    wall : datetime
        When its last frame had arrived, in UTC.
    score : float
        In [0, 1].
    delay : float
        Seconds from its last frame to its score.
    """

    source: str
    snippet: int
    first_frame: int
    time: float
    seconds: float
    wall: datetime
    score: float
    delay: float


@dataclass(frozen=True, slots=True)
class Event:
    """An alert with where it comes from.

    Attributes
    ----------
    source : str
        As of `Score`.
    alert : Alert
        What happened.
    wall : datetime
        When its last snippet's last frame had arrived, in UTC.
    clip, thumbnail : Path or None
        The files of the event. A clip appears when it is complete, after the event.
    """

    source: str
    alert: Alert
    wall: datetime
    clip: Path | None = None
    thumbnail: Path | None = None


@dataclass
class Summary:
    """What a watch did.

    Attributes
    ----------
    counts : ReaderCounts
        What the reader met: frames, drops, reconnects, failures.
    snippets : int
        Scored.
    alerts : int
        Events that began.
    clips, failed_clips, thumbnails, failed_thumbnails : int
        Files of events.
    mean_delay, longest_delay : float
        Seconds from a snippet's last frame to its score.
    seconds : float
        How long the watch took.
    stopped : bool
        Whether it was stopped from outside.
    """

    counts: ReaderCounts = field(default_factory=ReaderCounts)
    snippets: int = 0
    alerts: int = 0
    clips: int = 0
    failed_clips: int = 0
    thumbnails: int = 0
    failed_thumbnails: int = 0
    mean_delay: float = 0.0
    longest_delay: float = 0.0
    seconds: float = 0.0
    stopped: bool = False

    @property
    def failed(self) -> bool:
        """Whether anything failed, for the exit status."""
        return bool(self.counts.failed or self.failed_clips or self.failed_thumbnails)


class Listener:
    """Gets what a watch finds, in the thread that called `watch`; override what you need."""

    def score(self, score: Score) -> None:
        """Take a snippet's score."""

    def event(self, event: Event) -> None:
        """Take the beginning or the end of an event."""

    def begun(self, name: str, rate: float | None, drops: bool) -> None:
        """Take note that a video begins, or that a live source was connected (again)."""

    def note(self, text: str) -> None:
        """Take a message for people: a lost connection, a damaged file."""
