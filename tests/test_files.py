"""Atomic writes: the old content or the new, never half of it, and no leftovers."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast import _files
from ladnet_fast._files import (
    atomic_path,
    atomic_write_text,
    cache_folder,
    remove_leftovers,
    temporary_folder,
)


def test_a_file_appears_complete_with_its_folders_and_plain_permissions(tmp_path):
    target = tmp_path / "a" / "b" / "scores.npy"
    with atomic_path(target) as temporary:
        with temporary.open("wb") as file:
            np.save(file, np.arange(3))
        assert not target.exists()
    assert np.load(target).tolist() == [0, 1, 2]
    plain = tmp_path / "plain"
    plain.touch()
    assert target.stat().st_mode == plain.stat().st_mode
    assert [p.name for p in target.parent.iterdir()] == ["scores.npy"]


def test_the_umask_of_the_process_is_never_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("umask holds for all threads"))
    atomic_write_text(tmp_path / "x", "text")


@pytest.mark.parametrize("suffix", [".npy", ".txt", ".csv", ".h5", ".mp4", ".safetensors", ""])
def test_a_temporary_name_matches_no_pattern_of_an_input(tmp_path, suffix):
    with atomic_path(tmp_path / f"cam{suffix}") as temporary:
        assert temporary.suffix == ".part"
        assert temporary.name.startswith(".ladnet-")
        temporary.write_text("x")


def test_a_name_as_long_as_the_system_allows_can_be_written(tmp_path):
    target = tmp_path / f"{'n' * 251}.npy"
    atomic_write_text(target, "x")
    assert target.read_text() == "x"


def write_half(target):
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        raise KeyError


def test_an_exception_keeps_the_old_content_and_leaves_nothing_behind(tmp_path):
    target = tmp_path / "run.json"
    atomic_write_text(target, "old")
    with pytest.raises(KeyError):
        write_half(target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_names_the_file_that_was_to_be_written(tmp_path):
    def write_too_much():
        with atomic_path(tmp_path / "scores.csv"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=r"No space left on device: '.*scores\.csv'") as caught:
        write_too_much()
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_text_is_utf8(tmp_path):
    atomic_write_text(tmp_path / "x", "sigma² = 8")
    assert (tmp_path / "x").read_bytes() == "sigma² = 8".encode()


_HALF = """
import sys, time
from ladnet_fast._files import atomic_path, temporary_folder
with temporary_folder(sys.argv[1]) as folder, atomic_path(sys.argv[1] + "/x.npy") as temporary:
    temporary.write_text("half")
    (folder / "big").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


def killed_in_the_middle(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HALF, str(folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        # What a process that runs is writing stays.
        before = sorted(folder.iterdir())
        remove_leftovers(folder)
        assert sorted(folder.iterdir()) == before
        process.send_signal(signal.SIGKILL)


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    mine = tmp_path / ".ladnet-notes.part"
    mine.write_text("the user's")
    killed_in_the_middle(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [mine]


def test_a_leftover_whose_process_number_is_used_again_is_removed(tmp_path):
    left = tmp_path / f".ladnet-{_files._node()}-{os.getpid()}-{'0' * 12}.part"
    left.touch()
    os.utime(left, (time.time() - 1e7,) * 2)  # long before this process began
    remove_leftovers(tmp_path)
    assert not left.exists()


def test_another_machines_file_stays_for_a_day(tmp_path):
    left = tmp_path / f".ladnet-00000000-1-{'0' * 12}.part"
    left.touch()
    remove_leftovers(tmp_path)
    assert left.exists()
    os.utime(left, (time.time() - 90_000,) * 2)
    remove_leftovers(tmp_path)
    assert not left.exists()


def test_leftovers_of_a_folder_that_is_absent_are_none(tmp_path):
    remove_leftovers(tmp_path / "absent")


def test_a_temporary_folder_goes_with_its_content(tmp_path):
    with temporary_folder(tmp_path) as folder:
        (folder / "a").mkdir()
        (folder / "a" / "x").write_text("x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", ["cache", "./cache", "a/../cache"])
def test_a_cache_folder_is_absolute(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    assert cache_folder(given) == tmp_path / "cache"
    monkeypatch.setenv("LADNET_CACHE", given)
    assert cache_folder() == tmp_path / "cache"
