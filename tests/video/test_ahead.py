"""Work ahead in a thread: the same items, errors in their place, and no thread left over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast.video import I3D, iter_features
from ladnet_fast.video.ahead import work_ahead


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "ladnet-ahead"]


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_items_come_in_order(size: int, count: int) -> None:
    assert list(work_ahead((i for i in range(count)), size)) == list(range(count))
    assert threads() == []


def test_an_error_is_raised_after_the_items_before_it() -> None:
    def items() -> Generator[int, None, None]:
        yield from range(5)
        raise OSError("the disk")

    running = work_ahead(items(), 2)
    assert [next(running) for _ in range(5)] == list(range(5))
    with pytest.raises(OSError, match="the disk"):
        next(running)
    assert threads() == []


def test_it_is_never_further_ahead_than_allowed() -> None:
    made, taken, ahead = [0], [0], []

    def items() -> Generator[int, None, None]:
        for i in range(50):
            made[0] += 1
            ahead.append(made[0] - taken[0])
            yield i

    for _ in work_ahead(items(), 3):
        taken[0] += 1
    # Three wait, one is being made, and one has been handed out but not counted yet.
    assert max(ahead) <= 5


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ValueError])
def test_stopping_early_ends_the_thread_and_closes_the_items_there(
    error: type[BaseException] | None,
) -> None:
    closed: list[int] = []

    def items() -> Generator[int, None, None]:
        try:
            while True:
                yield 1
        finally:
            closed.append(threading.get_ident())

    running = work_ahead(items(), 2)
    next(running)
    if error is None:
        running.close()
    else:
        with pytest.raises(error):
            running.throw(error())
    assert threads() == []
    assert len(closed) == 1
    assert closed != [threading.get_ident()]


def test_closing_the_features_of_a_video_ends_its_thread(
    write_video: Callable[..., Path],
    grey_frames: Callable[..., np.ndarray],
    pixel_model: I3D,
    tmp_path: Path,
) -> None:
    path = write_video(tmp_path / "a.mkv", grey_frames(160))
    chunks = iter_features(path, model=pixel_model, batch=1)
    next(chunks)
    assert threads() == ["ladnet-ahead"]
    chunks.close()
    assert threads() == []
