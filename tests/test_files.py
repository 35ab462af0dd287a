"""Atomic writes: the old content or the new, never half of it."""

from __future__ import annotations

import numpy as np
import pytest

from ladnet_fast._files import atomic_path, atomic_write_text


def test_a_file_appears_complete_with_its_folders_and_plain_permissions(tmp_path):
    target = tmp_path / "a" / "b" / "scores.npy"
    with atomic_path(target) as temporary:
        assert temporary.suffix == ".npy"
        np.save(temporary, np.arange(3))
        assert not target.exists()
    assert np.load(target).tolist() == [0, 1, 2]
    plain = tmp_path / "plain"
    plain.touch()
    assert target.stat().st_mode == plain.stat().st_mode
    assert [p.name for p in target.parent.iterdir()] == ["scores.npy"]


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


def test_text_is_utf8(tmp_path):
    atomic_write_text(tmp_path / "x", "sigma² = 8")
    assert (tmp_path / "x").read_bytes() == "sigma² = 8".encode()
