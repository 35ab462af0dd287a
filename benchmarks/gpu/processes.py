"""Other programs that may take no longer than so many seconds, their children included."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def run(
    command: Sequence[str], seconds: float, folder: Path, environment: Mapping[str, str]
) -> tuple[str, int | None]:
    """Run a program; return all that it printed, and its exit status, None if it was ended.

    A program that is out of time is ended with all that it started.
    """
    with subprocess.Popen(
        command, cwd=folder, env=dict(environment), text=True, errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            text, _ = process.communicate(timeout=None if math.isinf(seconds) else seconds)
        except subprocess.TimeoutExpired:
            end(process)
            text, _ = process.communicate()
            return text, None
        except BaseException:  # an interrupt, of which a session of its own hears nothing
            end(process)
            raise
    return text, process.returncode


def end(process: subprocess.Popen[str]) -> None:
    """End a process that leads a session, and everything in it."""
    with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
        os.killpg(process.pid, signal.SIGKILL)
