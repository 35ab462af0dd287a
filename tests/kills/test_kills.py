"""After a kill nothing is half written, and the same command again gives the same as without it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .drive import drive

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the driver forks")


@pytest.mark.slow(seconds=60)
@pytest.mark.parametrize(
    ("command", "writes"),
    # A record and a file for each: 3 videos x 3 files; 3 videos x 5 crops, and their rows.
    [("score", 18), ("extract", 33), ("train", 9)],
)
def test_a_kill_at_any_write_and_at_random_moments(
    command: str, writes: int, tmp_path: Path
) -> None:
    at_writes, at_random = drive("driver", command, tmp_path, 17)
    assert at_writes > writes
    assert at_random >= 17
