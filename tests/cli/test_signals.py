"""A command that is asked to end takes its half-written files away first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

_WAITING = """
import sys, time
from ladnet_fast import cli
from ladnet_fast._files import atomic_path, temporary_folder

def command(**_):
    with temporary_folder(sys.argv[1]), atomic_path(sys.argv[1] + "/a.npy") as temporary:
        temporary.write_text("half")
        print("ready", flush=True)
        for _ in range(12_000):  # a signal just before one long sleep would be seen after it
            time.sleep(0.01)

from ladnet_fast.cli import app as module
module.app = command
cli.main()
"""


def started(folder: Path, *, ignoring_hangup: bool = False) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _WAITING, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Not what the tests were started with, which may be nohup.
        preexec_fn=lambda: signal.signal(
            signal.SIGHUP, signal.SIG_IGN if ignoring_hangup else signal.SIG_DFL
        ),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_polite_end_leaves_nothing_half_written(tmp_path: Path, name: str, status: int) -> None:
    with started(tmp_path) as process:
        assert len(list(tmp_path.iterdir())) == 2
        process.send_signal(getattr(signal, name))
        assert process.wait(120) == status
    assert list(tmp_path.iterdir()) == []


def test_a_hangup_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    with started(tmp_path, ignoring_hangup=True) as process:
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 143
    assert list(tmp_path.iterdir()) == []
