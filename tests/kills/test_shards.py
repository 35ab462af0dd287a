"""Processes that share videos give what one process gives, also where some of them are killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the driver forks")
ROOT = Path(__file__).parents[2]


def drive(*arguments: object) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "tests.kills.shards", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout.split()[-2])


@pytest.mark.slow
@pytest.mark.parametrize("command", ["extract", "score"])
def test_processes_together_give_what_one_gives(command: str, tmp_path: Path) -> None:
    assert drive("alike", command, tmp_path) == 9


@pytest.mark.slow
@pytest.mark.parametrize("command", ["extract", "score"])
def test_a_killed_process_costs_its_video_and_the_next_call_does_it(
    command: str, tmp_path: Path
) -> None:
    assert drive("killed", command, tmp_path, 8) >= 8
