"""After a kill nothing is half written, and the same command again gives the same as without it."""

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
        [sys.executable, "-m", "tests.kills.driver", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout.split()[-2])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "writes"),
    # A record and a file for each: 3 videos x 3 files; 3 videos x 5 crops, and their rows.
    [("score", 18), ("extract", 33), ("train", 9)],
)
def test_a_kill_at_any_write(command: str, writes: int, tmp_path: Path) -> None:
    assert drive("writes", command, tmp_path) > writes


@pytest.mark.slow
@pytest.mark.parametrize("command", ["score", "extract", "train"])
def test_kills_at_random_moments(command: str, tmp_path: Path) -> None:
    assert drive("random", command, tmp_path, 17) >= 17
