"""Starting a program for each event, one after the other, beside the watch."""

from __future__ import annotations

import queue
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable

MOST_WAITING = 100


class CommandRunner:
    """Starts a program without a shell and gives it a line of JSON on its standard input.

    What it prints goes to standard error. A program that fails, or takes too long, is named and
    counted, and the next one starts.

    Parameters
    ----------
    command : str
        The program and its arguments, divided as a shell divides them; no variables or patterns.
    timeout : float
        Seconds after which a program is killed.
    tell : callable
        Called with one message for each failure, in another thread.

    Raises
    ------
    ValueError
        If there is no such program.
    """

    def __init__(self, command: str, *, timeout: float, tell: Callable[[str], None]) -> None:
        try:
            self._arguments = shlex.split(command)
        except ValueError as error:
            raise ValueError(f"--exec {command!r}: its quotes don't match ({error})") from error
        if not self._arguments or shutil.which(self._arguments[0]) is None:
            raise ValueError(
                f"--exec {command!r}: no such program; give its path, or a command that "
                "'command -v' finds. It is started without a shell: for one, --exec \"sh -c '...'\""
            )
        self._timeout, self._tell = timeout, tell
        self._waiting: queue.Queue[str | None] = queue.Queue(MOST_WAITING)
        self.started = self.failed = 0
        self._thread = threading.Thread(target=self._run, name="ladnet-fast --exec", daemon=True)
        self._thread.start()

    def give(self, line: str) -> None:
        """Start the program with this line once those before it have ended."""
        try:
            self._waiting.put_nowait(line)
        except queue.Full:
            self._fail(f"{MOST_WAITING} events wait already; this one starts no program")

    def close(self) -> None:
        """Wait until the program has run for every line that was given."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (line := self._waiting.get()) is not None:
            self.started += 1
            try:
                done = subprocess.run(  # noqa: S603 - the user's own command, without a shell
                    self._arguments,
                    input=line.encode() + b"\n",
                    stdout=sys.__stderr__,
                    timeout=self._timeout,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                self._fail(f"took more than {self._timeout:g} seconds and was killed")
            except OSError as error:
                self._fail(f"can't be started ({error.strerror})")
            else:
                if done.returncode:
                    self._fail(f"ended with status {done.returncode}")

    def _fail(self, reason: str) -> None:
        self.failed += 1
        self._tell(f"--exec {shlex.join(self._arguments)}: {reason}")
