"""Several videos at once: the same results in the same order, and nobody works on for nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast.video import ExtractionError, extract_to_files
from ladnet_fast.video.extracted import FailedVideo
from ladnet_fast.video.extraction import extract_each
from ladnet_fast.video.extractors import Preparation
from ladnet_fast.video.several import in_order

WriteVideo = Callable[..., Path]


class Levels:
    """Describes a snippet by the grey levels of its frames; notes how many calls run at once."""

    name, width, frames_per_snippet, device = "levels", 16, 16, "cpu"
    preparation = Preparation(32, 32)
    settings = {"network": "levels", "weights": "", "precision": "float32"}  # noqa: RUF012

    def __init__(self, meet: threading.Barrier | None = None) -> None:
        self.meet, self.loads = meet, 0
        self.inside, self.most = 0, 0

    def load(self) -> None:
        self.loads += 1

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        self.inside += 1
        self.most = max(self.most, self.inside)
        rows = clips.mean(axis=(2, 3, 4)).astype(np.float32)
        self.inside -= 1
        return rows


@pytest.fixture
def videos(write_video: WriteVideo, grey_frames: Callable[..., np.ndarray], tmp_path: Path):
    """Four videos of other lengths; the second one is no video."""
    paths = [write_video(tmp_path / f"{i}.mkv", grey_frames(16 * i + 5)) for i in (3, 1, 4, 2)]
    paths[1].write_text("no video")
    return paths


@pytest.mark.parametrize("decoders", [2, 3, 9])
def test_the_same_files_in_the_same_order(
    videos: list[Path], tmp_path: Path, decoders: int
) -> None:
    folders, extractor = (tmp_path / "one", tmp_path / "several"), Levels()
    alone = list(extract_each(videos, folders[0], model=Levels()))
    found = list(extract_each(videos, folders[1], model=extractor, decoders=decoders))
    assert extractor.most == 1
    assert [type(outcome) for outcome in found] == [type(outcome) for outcome in alone]
    assert [outcome.name for outcome in found] == ["3", "1", "4", "2"]
    assert isinstance(found[1], FailedVideo)
    assert found[1] == alone[1]
    for name in ("3.npy", "4.npy", "2.npy"):
        np.testing.assert_array_equal(*(np.load(folder / name) for folder in folders))
    manifests = [(folder / "videos.csv").read_text() for folder in folders]
    assert manifests[0] == manifests[1]
    again = list(extract_each(videos, folders[1], model=Levels(), decoders=decoders))
    assert [getattr(outcome, "reused", None) for outcome in again] == [True, None, True, True]
    with pytest.raises(ExtractionError, match=r"1\.mkv"):
        extract_to_files(videos, folders[1], model=Levels(), decoders=decoders)


@pytest.mark.parametrize("decoders", [0, -1, 1.5, True, "2"])
def test_a_number_of_decoders_that_is_none_is_refused(
    videos: list[Path], tmp_path: Path, decoders: object
) -> None:
    with pytest.raises(ValueError, match="decoders must be"):
        extract_to_files(videos, tmp_path / "out", model=Levels(), decoders=decoders)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_who_stops_taking_results_leaves_nothing_half_written(
    videos: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    outcomes = extract_each(videos, out, model=Levels(), decoders=4)
    assert next(outcomes).name == "3"
    outcomes.close()  # type: ignore[attr-defined]
    assert not any(thread.name.startswith("ladnet") for thread in threading.enumerate())
    names = {path.name for path in out.iterdir()}
    assert {"3.npy", "videos.csv"} <= names <= {"3.npy", "4.npy", "2.npy", "videos.csv", ".ladnet"}
    assert [row.split(",")[0] for row in (out / "videos.csv").read_text().splitlines()[1:]] == ["3"]


def test_as_many_run_at_once_as_are_asked_for() -> None:
    meeting = threading.Barrier(3)

    def work(item: int, tell: Callable[..., None]) -> int:
        meeting.wait(60)  # nobody comes through alone
        return item * item

    assert list(in_order(work, range(6), 3, None)) == [0, 1, 4, 9, 16, 25]


def test_an_error_comes_in_its_turn_and_ends_the_others() -> None:
    begun, done = threading.Event(), []

    def work(item: int, tell: Callable[..., None]) -> int:
        if item == 1:
            assert begun.wait(60)
            raise RuntimeError("one")
        if item == 2:
            begun.set()
            while True:  # until it is told that nobody waits
                tell("two", 0, None)
        done.append(item)
        return item

    results = in_order(work, range(9), 3, None)
    assert next(results) == 0
    with pytest.raises(RuntimeError, match="one"):
        next(results)
    assert set(done) <= {0, 3}


def test_progress_is_of_the_video_whose_turn_it_is() -> None:
    heard: list[str] = []
    later = threading.Event()

    def work(item: str, tell: Callable[..., None]) -> str:
        if item == "a":
            assert later.wait(60)
        tell(item, 1, 2)
        if item == "b":
            later.set()
        return item

    results = in_order(work, "ab", 2, lambda name, done, total: heard.append(name))
    assert next(results) == "a"
    assert heard == ["a"]
    assert list(results) == ["b"]
