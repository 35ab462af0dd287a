"""Work on several videos at once, with one extractor for all, and results in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

from .extractors import Extractor, Preparation
from .extractors.protocol import Clips, Rows

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[str, int, int | None], None]
Work = Callable[[Item, Progress], Result]


class _StoppedError(Exception):
    """Raised in a thread to end it, when nobody waits for its result any more."""


def in_order(
    work: Work[Item, Result], items: Iterable[Item], threads: int, progress: Progress | None
) -> Generator[Result, None, None]:
    """Yield ``work(item, progress)`` of every item in order; ``threads`` of them run at once.

    Parameters
    ----------
    work : callable
        Called with an item and a function of progress, in a thread of several. It must call that
        function now and then: this is where it ends when nobody waits for its result.
    items : iterable
        Taken one by one, as results are.
    threads : int
        Items that are worked on at once, the one whose result is next among them.
    progress : callable or None
        Called for the item whose result is next, and for no other.

    Raises
    ------
    Exception
        What ``work`` raised, in its item's turn. The others end then, as they do when this
        generator is closed; it returns when they have ended.
    """
    stop = threading.Event()
    head = 0

    def run(number: int, item: Item) -> Result:
        def tell(name: str, done: int, total: int | None) -> None:
            if stop.is_set():
                raise _StoppedError
            if progress is not None and number == head:
                progress(name, done, total)

        return work(item, tell)

    numbered = enumerate(items)
    running: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="ladnet-video") as pool:
        try:
            while True:
                for number, item in islice(numbered, threads - len(running)):
                    running.append(pool.submit(run, number, item))
                if not running:
                    return
                yield running.popleft().result()
                head += 1
        finally:
            stop.set()
            for future in running:
                future.cancel()


class SharedExtractor:
    """An extractor that several threads use in turns.

    Parameters
    ----------
    extractor : Extractor
        Is called by one thread at a time, as the protocol promises it.
    """

    def __init__(self, extractor: Extractor) -> None:
        self._extractor, self._turn = extractor, threading.Lock()

    @property
    def name(self) -> str:  # noqa: D102
        return self._extractor.name

    @property
    def width(self) -> int:  # noqa: D102
        return self._extractor.width

    @property
    def frames_per_snippet(self) -> int:  # noqa: D102
        return self._extractor.frames_per_snippet

    @property
    def preparation(self) -> Preparation:  # noqa: D102
        return self._extractor.preparation

    @property
    def settings(self) -> Mapping[str, Any]:  # noqa: D102
        with self._turn:
            return self._extractor.settings

    @property
    def device(self) -> str:  # noqa: D102
        with self._turn:
            return self._extractor.device

    def load(self) -> None:
        """Make ready, in the thread that comes first."""
        with self._turn:
            self._extractor.load()

    def __call__(self, clips: Clips) -> Rows:
        """Describe clips when it is this thread's turn."""
        with self._turn:
            return self._extractor(clips)
