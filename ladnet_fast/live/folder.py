"""The files of a folder as they arrive."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ..video.sources import VIDEO_SUFFIXES

_POLL = 0.2
_Version = tuple[int, int]


def arriving_files(
    folder: str | os.PathLike[str],
    stop: threading.Event,
    *,
    settle: float,
    idle: float | None,
    skip_existing: bool = False,
) -> Iterator[Path]:
    """Yield the video files of a folder, those that are there and those that arrive.

    A file is complete when its size and time have stayed the same for ``settle`` seconds, also if
    it was renamed into the folder. A file that is written anew is yielded again. Files come in the
    order of their times, then of their names; hidden files, subfolders and other suffixes are left
    out. Name, size and time of each file are remembered, until the file is gone.

    Parameters
    ----------
    folder : path-like
        Looked at five times per second. A look that fails (a network share that is away) counts as
        one that found nothing new.
    stop : threading.Event
        Ends the iteration.
    settle : float
        Seconds that a file must stay unchanged to be complete.
    idle : float or None
        End after this many seconds in which nothing new has come; None: never.
    skip_existing : bool
        Leave out files that are there at the start.
    """
    done: dict[str, _Version] = {}
    seen: dict[str, tuple[_Version, float]] = {}  # since when a file has looked like this
    if skip_existing:
        done = _look(folder)
    last_news = time.monotonic()
    while not stop.is_set():
        try:
            there = _look(folder)
        except OSError:
            there = dict(done)
        now = time.monotonic()
        done = {name: version for name, version in done.items() if name in there}
        new = {name: version for name, version in there.items() if done.get(name) != version}
        changed = {n: v for n, v in new.items() if n not in seen or seen[n][0] != v}
        seen = {n: (v, now) if n in changed else seen[n] for n, v in new.items()}
        if changed:
            last_news = now
        ready = [name for name, (_, since) in seen.items() if now - since >= settle]
        for name in sorted(ready, key=lambda name: (new[name][1], name)):
            if stop.is_set():
                return
            done[name] = new[name]
            yield Path(folder, name)
            last_news = time.monotonic()
        if ready:
            continue  # much may have come in the meantime
        if idle is not None and not seen and now - last_news >= idle:
            return
        stop.wait(min(_POLL, settle) if seen else _POLL)


def _look(folder: str | os.PathLike[str]) -> dict[str, _Version]:
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            suffix = os.path.splitext(entry.name)[1].lower()
            if entry.name.startswith(".") or suffix not in VIDEO_SUFFIXES:
                continue
            try:
                if entry.is_file():
                    status = entry.stat()
                    found[entry.name] = (status.st_size, status.st_mtime_ns)
            except FileNotFoundError:
                continue  # it has just been taken away
    return found
