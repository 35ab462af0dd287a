"""What ``ladnet-fast watch`` prints: lines of JSON for programs, sentences for people."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

from .._times import clock
from ..live import Event, Listener, Score, Summary
from ..live.commands import CommandRunner
from ._console import errors, say

_ENDS = {
    "release": "the scores have fallen",
    "lost": "the source broke off",
    "end": "the video has ended",
    "stopped": "the watch was stopped",
}


class Lines(Listener):
    """Prints what a watch finds, and starts the program of ``--exec``.

    Parameters
    ----------
    window : int
        Length of the window in snippets; said in seconds at the start.
    all_scores : bool
        Print every score.
    runner : CommandRunner or None
        Started with the line of JSON of each event.
    """

    def __init__(self, *, window: int, all_scores: bool, runner: CommandRunner | None) -> None:
        self._window, self._all_scores, self._runner = window, all_scores, runner

    def begun(self, name: str, rate: float | None, drops: bool) -> None:
        """Say what is read."""
        if rate is None:
            of = f"an unknown number of frames per second; a window of {self._window} snippets"
        else:
            span = clock(self._window * 16 / rate)
            of = f"{rate:.4g} frames per second; a window of {self._window} snippets is {span}"
        late = "; where this machine is too slow, snippets are left out" if drops else ""
        say(f"{name}: {of}{late}", to=errors)

    def score(self, score: Score) -> None:
        """Print it, if scores are wanted."""
        if self._all_scores:
            put(
                {
                    "type": "score",
                    "source": score.source,
                    "snippet": score.snippet,
                    "first_frame": score.first_frame,
                    "time": round(score.time, 3),
                    "seconds": round(score.seconds, 3),
                    "wall": iso(score.wall),
                    "score": round(score.score, 6),
                    "delay": round(score.delay, 3),
                }
            )

    def event(self, event: Event) -> None:
        """Print it, and start the program."""
        alert = event.alert
        line = put(
            {
                "type": "alert",
                "state": alert.state,
                "event": alert.event,
                "source": event.source,
                "begin": round(alert.begin, 3),
                "until": round(alert.until, 3),
                "wall": iso(event.wall),
                "score": round(alert.score, 6),
                "peak": round(alert.peak, 6),
                "peak_time": round(alert.peak_time, 3),
                "reason": alert.reason,
                "clip": None if event.clip is None else str(event.clip),
                "thumbnail": None if event.thumbnail is None else str(event.thumbnail),
            }
        )
        if alert.reason is None:
            what = f"began at {clock(alert.begin)}, score {alert.score:.3f}"
        else:
            what = (
                f"ended at {clock(alert.until)}, {_ENDS[alert.reason]}; peak {alert.peak:.3f} at "
                f"{clock(alert.peak_time)}"
            )
        say(f"{event.source}: event {alert.event} {what}", to=errors)
        if self._runner is not None:
            self._runner.give(line)

    def note(self, text: str) -> None:
        """Print it for people."""
        say(text, to=errors)


def say_summary(name: str, summary: Summary, failed_commands: int) -> None:
    """Print the totals: for programs, and for people."""
    counts = summary.counts
    put(
        {
            "type": "summary",
            "source": name,
            "snippets": summary.snippets,
            "frames": counts.frames,
            "dropped": counts.dropped,
            "videos": counts.videos,
            "reconnects": counts.reconnects,
            "damaged_packets": counts.damaged,
            "size_changes": counts.size_changes,
            "alerts": summary.alerts,
            "clips": summary.clips,
            "failed_clips": summary.failed_clips,
            "failed_thumbnails": summary.failed_thumbnails,
            "failed_commands": failed_commands,
            "failures": [{"source": name, "reason": why} for name, why in counts.failures],
            "mean_delay": round(summary.mean_delay, 3),
            "longest_delay": round(summary.longest_delay, 3),
            "seconds": round(summary.seconds, 3),
            "stopped": summary.stopped,
        }
    )
    some = [
        f"{summary.snippets:,} snippets scored in {clock(summary.seconds)}",
        f"{counts.dropped:,} of {counts.frames:,} frames dropped",
        f"{counts.reconnects} reconnects",
        f"{summary.alerts} alerts",
        f"delay {summary.mean_delay:.2f} s on average, {summary.longest_delay:.2f} s at most",
    ]
    for number, what in (
        (counts.damaged, "damaged packets"),
        (counts.size_changes, "changes of size"),
        (counts.failed, "failures"),
        (summary.failed_clips, "clips not written"),
        (summary.failed_thumbnails, "pictures not written"),
        (failed_commands, "programs of --exec failed"),
    ):
        if number:
            some.append(f"{number:,} {what}")
    say("; ".join(some), to=errors)


def put(content: dict[str, Any]) -> str:
    """Print a line of JSON at once; return it."""
    line = json.dumps(content, allow_nan=False)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    return line


def iso(moment: datetime) -> str:
    """Format a moment in UTC, to the millisecond."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
