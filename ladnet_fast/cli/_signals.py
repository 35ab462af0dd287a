"""Ending in good order when the system asks: half-written files are removed first."""

from __future__ import annotations

import signal
from types import FrameType

_NAMES = ("SIGTERM", "SIGHUP")  # SIGINT is a KeyboardInterrupt already; Windows has no SIGHUP


def end_in_order() -> None:
    """Make SIGTERM and SIGHUP raise SystemExit in the main thread, with the shell's exit status.

    A signal that is ignored stays ignored: ``nohup`` ignores SIGHUP so that a command goes on.
    """
    for name in _NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    # A second signal, while files are being removed, ends the process at once.
    signal.signal(number, signal.SIG_DFL)
    raise SystemExit(128 + number)
