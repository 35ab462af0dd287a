"""When scores become an alert: they stay over a threshold for a while; it ends when they fall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .._values import real_number

Ended = Literal["release", "lost", "end", "stopped"]


@dataclass(frozen=True, slots=True)
class AlertRule:
    """The rule that says what an event is.

    Attributes
    ----------
    threshold : float
        An event begins where scores are at least this, in [0, 1].
    hold : float
        Seconds that scores must stay there before the event begins; 0: it begins at once.
    release : float or None
        The event lasts until a score is less than this, which is at most the threshold; None: 0.8
        of the threshold. The gap keeps scores that hover around the threshold from making many
        events of one.
    """

    threshold: float = 0.5
    hold: float = 2.0
    release: float | None = None

    def __post_init__(self) -> None:
        threshold = real_number("threshold", self.threshold, "in [0, 1]", least=0, most=1)
        real_number("hold", self.hold, "at least 0 seconds", least=0)
        if self.release is not None:
            real_number(
                "release", self.release, f"in [0, threshold = {threshold:g}]", least=0,
                most=threshold,
            )  # fmt: skip

    @property
    def lower(self) -> float:
        """The level under which an event is over."""
        return 0.8 * self.threshold if self.release is None else self.release


@dataclass(frozen=True, slots=True)
class Alert:
    """An event has begun, or has ended.

    Attributes
    ----------
    state : {"start", "end"}
        Which.
    event : int
        Number of the event, from 1.
    begin, until : float
        Seconds at which its first snippet begins, and at which its last snippet so far ends.
    score : float
        Of its last snippet so far; for the reason "release", of the snippet that ended it.
    peak, peak_time : float
        Its highest score so far, and the seconds at which that snippet begins.
    reason : str or None
        Why it ended: "release" (the score has fallen), "lost" (the source broke off), "end" (of
        the video), "stopped".
    """

    state: Literal["start", "end"]
    event: int
    begin: float
    until: float
    score: float
    peak: float
    peak_time: float
    reason: Ended | None = None


class Alarm:
    """Turns the scores of one source into alerts.

    Parameters
    ----------
    rule : AlertRule
        What an event is.
    """

    def __init__(self, rule: AlertRule) -> None:
        self._rule = rule
        self._begin: float | None = None  # of the run of high scores, whether an event yet or not
        self._until = self._peak = self._peak_time = self._score = 0.0
        self._running = False
        self.events = 0

    @property
    def begin(self) -> float | None:
        """Where the present event begins, or what may become one; None where scores are low."""
        return self._begin

    def update(self, time: float, seconds: float, score: float) -> Alert | None:
        """Take the score of the next snippet.

        Parameters
        ----------
        time, seconds : float
            When it begins and how long it lasts.
        score : float
            In [0, 1].
        """
        self._score = score
        least = self._rule.lower if self._running else self._rule.threshold
        if score < least:
            return self.close("release")
        if self._begin is None:
            self._begin, self._peak = time, -1.0
        if score > self._peak:
            self._peak, self._peak_time = score, time
        self._until = time + seconds
        # Times are sums of fractions: a millisecond is no reason to wait for another snippet.
        if self._running or self._until - self._begin < self._rule.hold - 1e-3:
            return None
        self._running = True
        self.events += 1
        return self._alert("start", None)

    def close(self, reason: Ended) -> Alert | None:
        """End the present event, if there is one: no further score belongs to it."""
        ended = self._alert("end", reason) if self._running else None
        self._begin, self._running = None, False
        return ended

    def _alert(self, state: Literal["start", "end"], reason: Ended | None) -> Alert:
        assert self._begin is not None
        return Alert(
            state, self.events, self._begin, self._until, self._score, self._peak,
            self._peak_time, reason,
        )  # fmt: skip
