"""Measurements that need a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any


class WorkerError(RuntimeError):
    """The process failed; the message is the last line of what it said."""


def run_worker(module: str, *arguments: object, threads: int) -> dict[str, Any]:
    """Run ``python -m module arguments...`` and return the JSON object of its last line.

    Raises
    ------
    WorkerError
        If the process fails, or is killed.
    """
    run = subprocess.run(
        [sys.executable, "-m", module, *(str(argument) for argument in arguments)],
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        said = run.stderr.strip().splitlines()
        raise WorkerError(said[-1] if said else f"the process ended with status {run.returncode}")
    answer: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return answer
