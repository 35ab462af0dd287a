"""Processes that share videos give what one process gives, also where some of them are killed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .drive import drive

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the driver forks")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["extract", "score"])
def test_processes_together_give_what_one_gives(command: str, tmp_path: Path) -> None:
    assert drive("shards", "alike", command, tmp_path) == [9]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["extract", "score"])
def test_a_killed_process_costs_its_video_and_the_next_call_does_it(
    command: str, tmp_path: Path
) -> None:
    [kills] = drive("shards", "killed", command, tmp_path, 8)
    assert kills >= 8
