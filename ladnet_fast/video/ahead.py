"""Computing items ahead of their use in another thread, up to a limit."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from typing import TypeVar

Item = TypeVar("Item")
_LOOK = 0.05  # seconds between two looks at whether the other side has gone


class _Ended:
    """The last thing that the thread sends: the error that ended it, None if it has finished."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def work_ahead(items: Generator[Item, None, None], size: int) -> Generator[Item, None, None]:
    """Yield ``items``, which another thread computes up to ``size`` items ahead.

    The thread starts with the first item that is asked for. An error in it is raised here, after
    the items before it. When this generator is closed, or an error is raised into it, the thread
    ends, ``items`` is closed in the thread that ran it, and only then does this return. Order and
    items are the same as without the thread.

    Parameters
    ----------
    items : generator
        Runs only in the other thread.
    size : int
        How many items may wait; one more is being computed.
    """
    waiting: queue.Queue[Item | _Ended] = queue.Queue(size)
    stop = threading.Event()

    def put(item: Item | _Ended) -> bool:
        while not stop.is_set():
            try:
                waiting.put(item, timeout=_LOOK)
            except queue.Full:
                continue
            return True
        return False

    def run() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if not put(item):
                    break
        except BaseException as raised:  # it travels to whoever asks for the next item
            error = raised
        finally:
            items.close()
            put(_Ended(error))

    thread = threading.Thread(target=run, name="ladnet-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item = waiting.get()
            if isinstance(item, _Ended):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stop.set()
        thread.join()
