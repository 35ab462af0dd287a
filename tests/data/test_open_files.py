"""HDF5 files that stay open for a while: opened once, closed at the end, never shared."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast.data import BagDataset, DataError, FeatureSource, Video, load_features
from ladnet_fast.data._arrays import hdf5_kept_open, keep_hdf5_open

h5py = pytest.importorskip("h5py")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[h5py.File]]:
    """Every file that is opened to be read."""
    files: list[h5py.File] = []
    real = h5py.File

    def count(path: object, mode: str) -> h5py.File:
        files.append(real(path, mode))
        return files[-1]

    monkeypatch.setattr("h5py.File", count)
    return files


def write(path: Path, **arrays: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


def numbered(count: int, start: int = 0) -> dict[str, np.ndarray]:
    return {f"v{i}": np.full((3, 4), start + i, np.float16) for i in range(count)}


def test_a_file_is_opened_once_for_all_its_data_sets_and_closed_at_the_end(
    tmp_path: Path, opened: list[h5py.File]
) -> None:
    path = write(tmp_path / "all.h5", **numbered(5))
    opened.clear()
    with hdf5_kept_open():
        for i in range(5):
            with hdf5_kept_open():  # blocks may lie in one another
                assert (load_features(FeatureSource(path, f"v{i}")) == i).all()
        assert len(opened) == 1
        assert opened[0]
    assert not opened[0]
    load_features(FeatureSource(path, "v0"))
    assert len(opened) == 2
    assert not opened[1]


def test_a_bag_data_set_opens_its_file_once_before_it_reads(
    tmp_path: Path, opened: list[h5py.File]
) -> None:
    path = write(tmp_path / "all.h5", **numbered(6))
    videos = [Video(f"v{i}", (FeatureSource(path, f"v{i}"),), i % 2) for i in range(6)]
    opened.clear()
    data = BagDataset(videos, preload=True)
    assert len(opened) <= 3  # samples, width, features
    assert not any(opened)
    assert [int(data[i].features[0, 0]) for i in range(6)] == list(range(6))


def test_an_error_closes_the_files_too(tmp_path: Path, opened: list[h5py.File]) -> None:
    path = write(tmp_path / "all.h5", **numbered(1))
    opened.clear()
    with pytest.raises(DataError, match="no data set 'x'"), hdf5_kept_open():
        load_features(FeatureSource(path, "x"))
    assert not any(opened)


def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "all.h5", **numbered(1))
    with hdf5_kept_open():
        assert (load_features(FeatureSource(path, "v0")) == 0).all()
        os.replace(write(tmp_path / "new.h5", **numbered(1, start=7)), path)
        assert (load_features(FeatureSource(path, "v0")) == 7).all()
        path.unlink()
        with pytest.raises(FileNotFoundError, match=r"all\.h5 does not exist"):
            load_features(FeatureSource(path, "v0"))


def test_a_data_set_of_many_files_leaves_few_of_them_open(
    tmp_path: Path, opened: list[h5py.File]
) -> None:
    paths = [write(tmp_path / f"{i}.h5", **numbered(1, start=i)) for i in range(70)]
    opened.clear()
    with hdf5_kept_open():
        for i, path in enumerate(paths):
            assert (load_features(FeatureSource(path, "v0")) == i).all()
            assert sum(map(bool, opened)) <= 32
        assert opened[-1]
    assert not any(opened)


def test_a_thread_does_not_close_what_another_one_reads(
    tmp_path: Path, opened: list[h5py.File]
) -> None:
    path = write(tmp_path / "all.h5", **numbered(1))
    opened.clear()

    def other() -> None:
        with hdf5_kept_open():
            load_features(FeatureSource(path, "v0"))

    with hdf5_kept_open():
        load_features(FeatureSource(path, "v0"))
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert [bool(file) for file in opened] == [True, False]
        load_features(FeatureSource(path, "v0"))
    assert len(opened) == 2


def _read_in_child(source: FeatureSource, results: multiprocessing.Queue) -> None:
    keep_hdf5_open(0)
    results.put(float(load_features(source)[0, 0]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_opens_the_file_itself_and_leaves_its_parents_open(tmp_path: Path) -> None:
    path = write(tmp_path / "all.h5", **numbered(3))
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    with hdf5_kept_open():
        assert (load_features(FeatureSource(path, "v0")) == 0).all()
        children = [
            context.Process(target=_read_in_child, args=(FeatureSource(path, f"v{i}"), results))
            for i in (1, 2)
        ]
        for child in children:
            child.start()
        assert sorted(results.get(timeout=60) for _ in children) == [1, 2]
        for child in children:
            child.join()
        assert (load_features(FeatureSource(path, "v2")) == 2).all()
