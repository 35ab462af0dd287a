"""How a source is watched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .._values import count, real_number
from .alerts import AlertRule
from .scorer import DEFAULT_WINDOW


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of `ladnet_fast.live.watch`.

    Attributes
    ----------
    window, delay : int
        Of `StreamScorer`, in snippets.
    rule : AlertRule
        What an event is.
    drop : bool or None
        Leave snippets out where the machine is too slow. None: of cameras and of addresses that
        don't say how long they are, not of files and pipes.
    backlog : int
        Most snippets that wait to be scored.
    fps : float or None
        Sample the source at this many frames per second; None: its own rate.
    reconnect : int
        Failed attempts in a row before a live source is given up; 0: it is not tried again.
    backoff : float
        Seconds before the first of these attempts; doubled each time, up to a minute.
    timeout : float
        Seconds that a camera or an address may keep silent.
    idle : float or None
        Seconds without growth that end a file (None: 10), or without new files that end a folder
        (None: never).
    settle : float
        Seconds that a file of a folder must have stayed the same to be complete.
    skip_existing : bool
        Leave out the files that are in a folder at the start.
    input_format : str or None
        FFmpeg's name of the source's format, where its content doesn't tell.
    input_options : mapping of str to str
        FFmpeg's options of the format and the protocol.
    clips, thumbnails : Path or None
        Folders for a clip, and for a picture, of each event.
    before, after : float
        Seconds of a clip before an event begins and after it has ended.
    longest_clip : float
        Seconds after which a clip ends even if its event does not.
    """

    window: int = DEFAULT_WINDOW
    delay: int = 0
    rule: AlertRule = field(default_factory=AlertRule)
    drop: bool | None = None
    backlog: int = 2
    fps: float | None = None
    reconnect: int = 10
    backoff: float = 1.0
    timeout: float = 10.0
    idle: float | None = None
    settle: float = 2.0
    skip_existing: bool = False
    input_format: str | None = None
    input_options: Mapping[str, str] = field(default_factory=dict)
    clips: Path | None = None
    thumbnails: Path | None = None
    before: float = 5.0
    after: float = 5.0
    longest_clip: float = 600.0

    def __post_init__(self) -> None:
        count("backlog", self.backlog)
        count("reconnect", self.reconnect, least=0)
        for name in ("backoff", "settle", "before", "after"):
            real_number(name, getattr(self, name), "at least 0 seconds", least=0)
        for name in ("timeout", "longest_clip"):
            real_number(name, getattr(self, name), "at least a thousandth of a second", least=1e-3)
        if self.idle is not None:
            real_number("idle", self.idle, "None or at least 0 seconds", least=0)
        if self.fps is not None:
            real_number("fps", self.fps, "None or from 0.1 to 1000", least=0.1, most=1000)
