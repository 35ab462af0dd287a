"""A model remembers its extractor, and features of another one are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ladnet_fast import LANet
from ladnet_fast._records import recorded
from ladnet_fast.data import DataError, Video, read_manifest, write_pack
from ladnet_fast.engine import Config, load_model, train
from ladnet_fast.engine.inputs import Inputs
from ladnet_fast.engine.score_each import ScoredVideo, UnscoredVideo, score_each
from ladnet_fast.engine.score_files import ScoreFolder
from ladnet_fast.video.extractors import Preparation

MakeVideos = Callable[..., list[Video]]
I3D = {"network": "i3d", "weights": "1234567890", "precision": "float32", "crops": 1}
CLIP = {"network": "clip", "weights": "abcdef0123", "precision": "float32", "pixels": "9"}


def sign(videos: list[Video], settings: dict[str, Any]) -> list[Video]:
    """Write the features anew, with a record as extraction writes it."""
    for video in videos:
        for crop, source in enumerate(video.features):
            features = np.load(source.path)
            made = {"kind": "features", "settings": settings, "crop": crop}
            with recorded(source.path, made) as temporary, temporary.open("wb") as file:
                np.save(file, features)
    return videos


def scored(net: LANet, videos: list[Video], folder: Path) -> list[Any]:
    return list(score_each(net, Inputs(videos=videos), ScoreFolder(folder, net)))


@pytest.fixture
def small(config: Config) -> Config:
    return config.replace(training={"epochs": 1})


@pytest.mark.parametrize("packed", [False, True], ids=["files", "pack"])
def test_features_of_another_extractor_are_refused_by_name(
    make_videos: MakeVideos, small: Config, tmp_path: Path, packed: bool
) -> None:
    videos, others = sign(make_videos(4), I3D), sign(make_videos(2, first=4), CLIP)
    plain = make_videos(2, first=6)
    given, strange = videos, others
    if packed:
        write_pack(videos, tmp_path / "pack")
        write_pack(others, tmp_path / "other")
        given, strange = read_manifest(tmp_path / "pack"), read_manifest(tmp_path / "other")
    train(small, given, run_dir=tmp_path / "run")
    net = load_model(tmp_path / "run")
    assert net.trained_on == I3D
    outcomes = scored(net, [*given, *strange, *plain], tmp_path / "scores")
    assert [type(outcome) for outcome in outcomes[:4]] == [ScoredVideo] * 4
    for outcome in outcomes[4:6]:
        assert isinstance(outcome, UnscoredVideo)
        for part in ("clip (weights abcdef01", "i3d (weights 12345678", "--extractor i3d"):
            assert part in outcome.reason
    assert [type(outcome) for outcome in outcomes[6:]] == [ScoredVideo] * 2, "of unknown origin"


def test_videos_are_not_extracted_with_another_extractor(
    make_videos: MakeVideos, small: Config, tmp_path: Path
) -> None:
    from ladnet_fast.video import Footage

    train(small, sign(make_videos(4), CLIP), run_dir=tmp_path / "run")
    net = load_model(tmp_path / "run")

    class Other:
        name, settings, frames_per_snippet = "i3d", I3D, 16
        preparation = Preparation(256, 224)

    class Placed:
        name = "i3d"

        def place(self, folder: Path, videos: list[Path]) -> None:
            raise AssertionError

    found = Inputs(footage=[Footage(tmp_path / "x.mp4", "x")])
    for other in (Other(), Placed()):
        with pytest.raises(DataError, match=r"the extractor i3d: .*--extractor clip"):
            score_each(net, found, ScoreFolder(tmp_path / "s", net), extractor=other)  # type: ignore[arg-type]
    assert not (tmp_path / "s").exists()


def test_another_precision_is_no_other_extractor(
    make_videos: MakeVideos, small: Config, tmp_path: Path
) -> None:
    videos = sign(make_videos(4), I3D)
    int8 = sign(make_videos(2, first=4), {**I3D, "precision": "int8", "engine": "openvino"})
    train(small, [*videos, *int8], run_dir=tmp_path / "run")
    net = load_model(tmp_path / "run")
    assert net.trained_on == {key: I3D[key] for key in ("network", "weights", "crops")}
    outcomes = scored(net, int8, tmp_path / "scores")
    assert all(isinstance(outcome, ScoredVideo) for outcome in outcomes)


def test_training_on_two_extractors_is_refused(
    make_videos: MakeVideos, small: Config, tmp_path: Path
) -> None:
    mixed = [*sign(make_videos(2), I3D), *sign(make_videos(2, first=2), CLIP)]
    with pytest.raises(DataError, match=r"v2__0.npy was made by clip .* by i3d"):
        train(small, mixed, run_dir=tmp_path / "run")


@pytest.mark.parametrize("known", [0, 2], ids=["none", "some"])
def test_features_from_elsewhere_stay_unknown(
    make_videos: MakeVideos, small: Config, tmp_path: Path, known: int
) -> None:
    videos = make_videos(4)
    sign(videos[:known], I3D)
    train(small, videos, run_dir=tmp_path / "run")
    assert load_model(tmp_path / "run").trained_on == {}
