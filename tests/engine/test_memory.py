"""Features that stay in memory change how long training takes, and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ladnet_fast import LANet
from ladnet_fast.data import FeatureSource, Video, iter_crops
from ladnet_fast.data.memory_limit import MemoryLimit
from ladnet_fast.engine import Config, ConfigError, EpochRecord, Reporter, score_video, train
from ladnet_fast.engine.validation import KeptVideos

MakeVideos = Callable[..., list[Video]]


class Spoiler(Reporter):
    """Takes the features away after the first epoch."""

    def __init__(self, videos: list[Video]) -> None:
        self.files = {source.path for video in videos for source in video.features}

    def epoch(self, record: EpochRecord) -> None:
        for path in self.files:
            path.unlink(missing_ok=True)


def in_one_hdf5_file(videos: list[Video], path: Path) -> list[Video]:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for video in videos:
            file[video.name] = np.load(video.features[0].path)
    return [dataclasses.replace(v, features=(FeatureSource(path, v.name),)) for v in videos]


@pytest.mark.parametrize("shape", ["crops and queries", "one HDF5 file"])
def test_results_do_not_depend_on_what_is_kept(
    make_videos: MakeVideos, config: Config, tmp_path: Path, shape: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if shape == "one HDF5 file":
        videos = in_one_hdf5_file(make_videos(12), tmp_path / "all.h5")
    else:
        videos = make_videos(12, crops=2, query_dim=5)
    config = config.replace(training={"validation": 0.4})
    found = []
    options = ({"preload": False}, {"preload": True}, {"preload": "auto"}, {"workers": 1}, {})
    for i, changed in enumerate(options):
        if i == len(options) - 1:  # memory for some bags only
            monkeypatch.setattr("ladnet_fast.engine.loading.spare_bytes", lambda _: 2500)
        result = train(config.replace(training=changed), videos, run_dir=tmp_path / str(i))
        found.append((result.model.state_dict(), result.history))
    for state, history in found[1:]:
        assert history == found[0][1]
        assert all(torch.equal(state[name], found[0][0][name]) for name in state)


@pytest.mark.parametrize("preload", ["auto", True])
def test_small_sets_are_read_in_the_first_epoch_only(
    make_videos: MakeVideos, config: Config, tmp_path: Path, preload: str | bool
) -> None:
    videos = make_videos(12, crops=2)
    config = config.replace(training={"validation": 0.4, "preload": preload})
    result = train(config, videos, run_dir=tmp_path / "run", reporter=Spoiler(videos))
    assert len(result.history) == 3


def test_every_epoch_reads_where_nothing_is_to_be_kept(
    make_videos: MakeVideos, config: Config, tmp_path: Path
) -> None:
    videos = make_videos()
    with pytest.raises(FileNotFoundError, match="feature file"):
        train(
            config.replace(training={"preload": False}), videos, run_dir=tmp_path / "run",
            reporter=Spoiler(videos),
        )  # fmt: skip


def test_held_out_videos_are_kept_while_they_fit(make_videos: MakeVideos) -> None:
    videos = make_videos(3, crops=2, query_dim=5)
    length = len(next(iter_crops(videos[0])).features)
    kept = KeptVideos(MemoryLimit(4 * length * (2 * 12 + 5)))
    first = kept.crops(videos[0])
    assert first is not None
    assert len(first) == 2
    assert kept.crops(videos[1]) is None
    assert kept.crops(videos[0]) is first


@pytest.mark.parametrize("max_snippets", [1, 20, 1000])
def test_crops_in_memory_score_as_those_on_the_disk(
    make_videos: MakeVideos, max_snippets: int
) -> None:
    net = LANet(12, hidden_dim=8, mlp_dims=(16, 8))
    for video in make_videos(3, crops=3):
        scores = score_video(net, video, max_snippets=max_snippets, crops=list(iter_crops(video)))
        assert np.array_equal(scores, score_video(net, video, max_snippets=max_snippets))


@pytest.mark.parametrize("value", ["1", "0", "'true'", "null", "[auto]", "yes please"])
def test_other_words_for_preload_are_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=r"training\.preload must be one of auto, true, false"):
        Config().override([f"training.preload={value}"])


@pytest.mark.parametrize(
    ("value", "expected"), [("auto", "auto"), ("true", True), ("false", False)]
)
def test_preload_is_auto_or_a_truth_value(value: str, expected: str | bool) -> None:
    found = Config().override([f"training.preload={value}"]).training.preload
    assert repr(found) == repr(expected)
