"""Starts a driver of kills in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def drive(driver: str, *arguments: object) -> list[int]:
    """Run ``tests.kills.DRIVER`` and return the numbers that it prints before its last word."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.kills.{driver}", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [int(word) for word in done.stdout.splitlines()[-1].split()[:-1]]
