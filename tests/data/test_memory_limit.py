"""What of the features stays in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast.data import BagDataset, FeatureSource, Video, memory_limit
from ladnet_fast.data.memory_limit import MOST_BYTES, MemoryLimit, spare_bytes

MakeVideo = Callable[..., Video]


def test_a_limit_is_shared_and_never_passed() -> None:
    limit = MemoryLimit(10)
    assert [limit.take(size) for size in (4, 7, 6, 1, 0)] == [True, False, True, False, True]
    assert limit.left == 0


def test_samples_stay_in_memory_as_they_are_read_while_they_fit(
    make_video: MakeVideo, save: Callable[..., Path]
) -> None:
    query = save("q.npy", (5, 3))
    videos = [make_video(f"v{i}", query=FeatureSource(query)) for i in range(3)]
    expected = [np.load(video.features[0].path) for video in videos]
    each = 5 * (4 + 3) * 4  # bytes: snippets, widths, float32
    data = BagDataset(videos, memory=MemoryLimit(2 * each + each // 2))
    for _ in range(2):
        for i in (2, 0, 1):
            np.testing.assert_array_equal(data[i].features, expected[i])
    for video in videos:
        np.save(video.features[0].path, np.zeros((5, 4), np.float32))
    np.testing.assert_array_equal(data[2].features, expected[2])
    np.testing.assert_array_equal(data[0].features, expected[0])
    np.testing.assert_array_equal(data[1].features, 0)  # did not fit: read each time


def test_a_bag_in_memory_has_one_place_however_it_is_counted(make_video: MakeVideo) -> None:
    videos = [make_video(f"v{i}") for i in range(2)]
    data = BagDataset(videos, memory=MemoryLimit(5 * 4 * 4))
    assert data[1] is data[-1]
    assert data[np.int64(1)] is data[1]
    assert data[0] is not data[0]  # no room for another one
    for beyond in (2, -3):
        with pytest.raises(IndexError):
            data[beyond]


def test_nothing_is_kept_unasked(make_video: MakeVideo) -> None:
    video = make_video()
    data = BagDataset([video])
    assert data[0].features.any()
    np.save(video.features[0].path, np.zeros((5, 4), np.float32))
    assert not data[0].features.any()


@pytest.mark.parametrize(
    ("free", "allowed", "processes", "expected"),
    [
        (64 << 30, None, 1, MOST_BYTES),
        (64 << 30, None, 4, MOST_BYTES // 4),
        (4 << 30, None, 1, 1 << 30),
        (64 << 30, 1 << 30, 1, 1 << 28),
        (1 << 30, 64 << 30, 2, 1 << 27),
        (64 << 30, -5, 1, 0),
        (None, None, 1, MOST_BYTES),
    ],
)
def test_what_may_be_kept_leaves_most_of_the_memory_free(
    monkeypatch: pytest.MonkeyPatch,
    free: int | None,
    allowed: int | None,
    processes: int,
    expected: int,
) -> None:
    monkeypatch.setattr(memory_limit, "_free_bytes", lambda: free)
    monkeypatch.setattr(memory_limit, "_cgroup_bytes", lambda: allowed)
    assert spare_bytes(processes) == expected


def test_the_narrowest_limit_around_a_process_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "batch" / "job" / "step"
    own.mkdir(parents=True)
    lines = tmp_path / "of_this_process"
    lines.write_text("1:name=systemd:/x\n0::/batch/job/step\n")
    monkeypatch.setattr(memory_limit, "_CGROUP", tmp_path)
    monkeypatch.setattr(memory_limit, "_OWN", lines)
    assert memory_limit._cgroup_bytes() is None
    for folder, most in ((own, "max"), (own.parent, "5000"), (own.parent.parent, "9000")):
        (folder / "memory.max").write_text(most + "\n")
        (folder / "memory.current").write_text("1000\n")
    assert memory_limit._cgroup_bytes() == 4000
    (tmp_path / "memory").mkdir()  # of the first version
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("1500\n")
    (tmp_path / "memory" / "memory.usage_in_bytes").write_text("1000\n")
    assert memory_limit._cgroup_bytes() == 500
    lines.unlink()
    assert memory_limit._cgroup_bytes() is None
