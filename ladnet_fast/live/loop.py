"""Watching a source: snippets to features to scores to alerts, until it ends or is stopped."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from datetime import datetime, timezone

from ..nn import LANet
from .addresses import Source, parse_source
from .alerts import Alarm, Alert, Ended
from .evidence import Evidence
from .extractors import SnippetExtractor
from .handoff import Begun, Done, Handoff, Item, Note, Over, Snippet
from .reader import Reader
from .results import Event, Listener, Score, Summary
from .scorer import StreamScorer
from .settings import Settings

_POLL = 0.2
_JOIN = 1.0
_TELL_DROPS = 60.0


def watch(
    source: str,
    model: LANet,
    extractor: SnippetExtractor,
    listener: Listener,
    *,
    settings: Settings | None = None,
    stop: threading.Event | None = None,
) -> Summary:
    """Score a source until it ends or ``stop`` is set.

    A thread reads, decodes and resizes; the caller's thread computes features and scores and calls
    the listener. At most ``settings.backlog`` snippets wait between the two: then the reader of a
    file waits, and that of a live source leaves whole snippets out, and counts their frames. Memory
    is bounded by these, by the window, and by the packets that are kept for clips.

    Parameters
    ----------
    source : str
        See `parse_source`.
    model : LANet
        Without queries.
    extractor : callable
        See `SnippetExtractor`; for I3D `i3d_extractor`.
    listener : Listener
        Gets scores and events.
    settings : Settings, optional
        Window, threshold and the other options.
    stop : threading.Event, optional
        Set it from another thread or a signal handler to end the watch in good order.

    Returns
    -------
    Summary
        Failures of files of a folder, lost connections and clips are counted in it.

    Raises
    ------
    ladnet_fast.video.VideoError
        If there is no such source, or it can't be read from the start.
    ValueError
        If the model needs queries, or its features have another width than the extractor's.
    """
    if model.query_dim is not None:
        raise ValueError(
            "model must be one that was trained without queries, since a stream of pictures has no "
            f"second modality; got one with query_dim = {model.query_dim}"
        )
    settings = Settings() if settings is None else settings
    stop = threading.Event() if stop is None else stop
    return _Watch(parse_source(source), model, extractor, listener, settings, stop).run()


class _Watch:
    def __init__(
        self,
        source: Source,
        model: LANet,
        extractor: SnippetExtractor,
        listener: Listener,
        settings: Settings,
        stop: threading.Event,
    ) -> None:
        self._extractor, self._listener, self._stop = extractor, listener, stop
        self._scorer = StreamScorer(
            model, window=settings.window, delay=settings.delay, crops=extractor.crops
        )
        self._alarm = Alarm(settings.rule)
        self._summary = Summary()
        self._evidence = Evidence(settings, self._summary, listener)
        self._name, self._number = source.name, 0  # of the video, and its next snippet's
        self._waiting: deque[tuple[int, Snippet]] = deque()  # for their scores
        self._wall = datetime.now(timezone.utc)
        self._total_delay = 0.0
        self._told, self._told_at = (0, 0), time.monotonic()  # frames and drops so far
        self._ending = threading.Event()
        self._out = Handoff(settings.backlog)
        self._reader = Reader(
            source, settings, extractor, self._out, self._ending,
            self._evidence.recorder,
        )  # fmt: skip

    def run(self) -> Summary:
        started = time.monotonic()
        self._reader.start()
        try:
            while not (self._stop.is_set() or self._take(self._out.get(_POLL))):
                self._evidence.tell()
                self._tell_drops()
            self._summary.stopped = self._stop.is_set()
            self._give(self._scorer.finish())
            self._close("stopped" if self._summary.stopped else "end")
        finally:
            self._ending.set()
            self._out.close()
            self._reader.join(_JOIN)
            self._evidence.cut()
            self._evidence.tell()
        summary = self._summary
        summary.counts, summary.seconds = self._reader.counts, time.monotonic() - started
        summary.mean_delay = self._total_delay / max(1, summary.snippets)
        return summary

    def _take(self, item: Item | None) -> bool:
        """Do what an item asks for; tell whether it was the last one."""
        match item:
            case Snippet():
                self._describe(item)
            case Begun():
                self._name = item.name
                if not item.again:
                    self._number = 0
                    self._scorer.reset()
                self._listener.begun(item.name, item.rate, item.drops)
            case Over():
                # A stream that goes on after a break goes on in the same window; but scores that
                # wait for their future get none from beyond the break.
                self._give(self._scorer.finish())
                self._close("lost" if item.lost else "end")
                self._evidence.cut()
                item.handled.set()
            case Note():
                self._listener.note(item.text)
            case Done():
                if item.error is not None:
                    raise item.error
                return True
        return False

    def _describe(self, snippet: Snippet) -> None:
        rows = self._extractor(snippet.frames)
        self._waiting.append((self._number, self._evidence.with_picture_only(snippet)))
        self._number += 1
        self._give(self._scorer.push(rows))

    def _give(self, scores: Iterable[float]) -> None:
        for score in scores:
            number, snippet = self._waiting.popleft()
            delay = time.monotonic() - snippet.arrived
            self._wall = snippet.wall
            self._summary.snippets += 1
            self._total_delay += delay
            self._summary.longest_delay = max(self._summary.longest_delay, delay)
            self._listener.score(
                Score(
                    self._name, number, snippet.first_frame, snippet.time, snippet.seconds,
                    snippet.wall, float(score), delay,
                )
            )  # fmt: skip
            alert = self._alarm.update(snippet.time, snippet.seconds, float(score))
            if alert is not None and alert.state == "end":  # this snippet is no part of it
                self._announce(alert)
                alert = None
            self._evidence.scored(snippet, float(score), self._alarm.begin)
            self._announce(alert)

    def _tell_drops(self) -> None:
        counts, now = self._reader.counts, time.monotonic()
        if now - self._told_at < _TELL_DROPS:
            return
        (frames, dropped), self._told = self._told, (counts.frames, counts.dropped)
        self._told_at = now
        if counts.dropped > dropped:
            share = (counts.dropped - dropped) / max(1, counts.frames - frames)
            self._listener.note(
                f"{self._name}: this machine is too slow; in the last minute {share:.0%} of the "
                "frames were left out"
            )

    def _close(self, reason: Ended) -> None:
        self._announce(self._alarm.close(reason))

    def _announce(self, alert: Alert | None) -> None:
        if alert is None:
            return
        self._summary.alerts += alert.state == "start"
        files = self._evidence.of(alert, self._name, self._wall)
        self._listener.event(Event(self._name, alert, self._wall, *files))
