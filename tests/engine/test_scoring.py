"""Scores of whole videos, and their files."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ladnet_fast import LANet
from ladnet_fast.data import DataError, FeatureSource, Video, load_features
from ladnet_fast.engine import read_scores, score_video, score_videos, write_scores
from ladnet_fast.engine.score_files import ScoreFolder
from ladnet_fast.engine.scoring import snippet_frames

MakeVideos = Callable[..., list[Video]]


@pytest.fixture
def net() -> LANet:
    return LANet(feature_dim=12, hidden_dim=8, mlp_dims=(16, 8))


def direct(net: LANet, source: FeatureSource, query: torch.Tensor | None = None) -> torch.Tensor:
    with torch.no_grad():
        return net.eval()(torch.from_numpy(load_features(source))[None], query=query).scores[0]


def test_scores_are_those_of_the_model(make_videos: MakeVideos, net: LANet) -> None:
    for video in make_videos(3):
        scores = score_video(net, video)
        assert scores.dtype == np.float32
        assert np.array_equal(scores, direct(net, video.features[0]).numpy())


@pytest.mark.parametrize("max_snippets", [1, 25, 16_384])
def test_scores_are_the_mean_over_crops_however_many_go_together(
    make_videos: MakeVideos, net: LANet, max_snippets: int
) -> None:
    (video,) = make_videos(1, crops=5)
    mean = torch.stack([direct(net, source).double() for source in video.features]).mean(0)
    scores = score_video(net, video, max_snippets=max_snippets)
    np.testing.assert_allclose(scores, mean.numpy(), rtol=1e-6)


@pytest.mark.parametrize("query_dim", [None, 5])
def test_scores_in_bf16_are_near_those_in_fp32_and_not_rounded_to_it(
    make_videos: MakeVideos, query_dim: int | None
) -> None:
    net = LANet(feature_dim=12, hidden_dim=8, mlp_dims=(16, 8), query_dim=query_dim)
    (video,) = make_videos(1, crops=3, query_dim=query_dim or 0, first=3)
    full = score_video(net, video)
    half = score_videos(net, [video], precision="bf16")[video.name]
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, full, atol=0.02)
    assert not np.array_equal(half, full)
    first = dataclasses.replace(video, features=video.features[:1])
    alone = torch.from_numpy(score_video(net, first, precision="bf16"))
    assert (alone.bfloat16().float() != alone).float().mean() > 0.5
    assert np.array_equal(score_video(net, video), full), "nothing of it stays"


@pytest.mark.parametrize("precision", ["fp16", "bfloat16", torch.bfloat16, None])
def test_other_precisions_are_refused(
    make_videos: MakeVideos, net: LANet, tmp_path: Path, precision: object
) -> None:
    (video,) = make_videos(1)
    for call in (
        lambda: score_video(net, video, precision=precision),  # type: ignore[arg-type]
        lambda: ScoreFolder(tmp_path, net, precision=precision),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=r"precision must be one of fp32, bf16; got "):
            call()


def test_crops_in_one_file_score_as_crops_in_files(
    make_videos: MakeVideos, net: LANet, tmp_path: Path
) -> None:
    (video,) = make_videos(1, crops=5)
    stacked = np.stack([load_features(source) for source in video.features], axis=1)
    np.save(tmp_path / "all.npy", stacked)
    together = dataclasses.replace(video, features=(FeatureSource(tmp_path / "all.npy"),))
    np.testing.assert_array_equal(score_video(net, together), score_video(net, video))


def test_dropout_is_off_and_the_mode_is_kept(make_videos: MakeVideos, net: LANet) -> None:
    (video,) = make_videos(1)
    net.train()
    assert np.array_equal(score_video(net, video), score_video(net, video))
    assert net.training


def test_queries_reach_the_network_that_wants_them(make_videos: MakeVideos, net: LANet) -> None:
    (video,) = make_videos(1, query_dim=5)
    audio = LANet(feature_dim=12, hidden_dim=8, mlp_dims=(16, 8), query_dim=5)
    assert video.query is not None
    query = torch.from_numpy(load_features(video.query))[None]
    assert np.array_equal(
        score_video(audio, video), direct(audio, video.features[0], query).numpy()
    )
    score_video(net, video)  # one without query_dim leaves them alone
    with pytest.raises(ValueError, match="v0: the model needs queries of width 5"):
        score_video(audio, dataclasses.replace(video, query=None))


def test_features_of_another_width_and_broken_weights_are_named(
    make_videos: MakeVideos, net: LANet
) -> None:
    (video,) = make_videos(1)
    other = LANet(feature_dim=7, hidden_dim=8, mlp_dims=(16, 8))
    with pytest.raises(ValueError, match=r"v0: features are 12 wide.*trained on 7"):
        score_video(other, video)
    with torch.no_grad():
        net.classifier.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match="v0: the score of snippet 0 is not finite"):
        score_video(net, video)
    with pytest.raises(ValueError, match="max_snippets"):
        score_video(net, video, max_snippets=0)


def test_progress_hears_of_every_video(make_videos: MakeVideos, net: LANet) -> None:
    heard: list[tuple[str, int, int]] = []
    score_videos(net, make_videos(2), progress=lambda *call: heard.append(call))
    assert heard == [("v0", 0, 2), ("v1", 1, 2), ("", 2, 2)]


def test_files_give_back_the_scores(make_videos: MakeVideos, net: LANet, tmp_path: Path) -> None:
    videos = [dataclasses.replace(v, name=f"part/{v.name}#1_label_A") for v in make_videos(3)]
    scores = score_videos(net, videos)
    paths = write_scores(tmp_path / "out", videos, scores)
    assert paths[0] == tmp_path / "out" / "part" / "v0#1_label_A.npy"
    loaded = read_scores(tmp_path / "out", videos)
    assert all(np.array_equal(scores[name], loaded[name]) for name in scores)


@pytest.mark.parametrize(
    ("num_frames", "per_snippet", "frames"),
    [
        (None, 4, [(0, 3), (4, 7), (8, 11)]),
        (10, 4, [(0, 3), (4, 7), (8, 9)]),
        (10, None, [(0, 3), (4, 6), (7, 9)]),
        (None, None, [("", "")] * 3),
    ],
)
def test_table_has_the_frames_of_each_snippet(
    tmp_path: Path, num_frames: int | None, per_snippet: int | None, frames: list
) -> None:
    video = Video(
        "v", (FeatureSource(Path("v.npy")),), 0,
        num_frames=num_frames, frames_per_snippet=per_snippet,
    )  # fmt: skip
    scores = np.array([0.1, 0.25, 1 / 3], np.float32)
    write_scores(tmp_path, [video], {"v": scores})
    with (tmp_path / "v.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["snippet"] for row in rows] == ["0", "1", "2"]
    assert [(r["first_frame"], r["last_frame"]) for r in rows] == [
        (str(a), str(b)) for a, b in frames
    ]
    assert np.array_equal(np.array([row["score"] for row in rows], np.float32), scores)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 2)), r"shape \(T,\); got \(3, 2\)"),
        (np.array(["a"]), "scores must be one per snippet"),
        (np.zeros(0), "at least one"),
        (np.array([0.1, np.nan]), "finite"),
        (np.array([None]), "not a readable .npy"),
    ],
)
def test_score_file_that_is_none_is_named(tmp_path: Path, array: np.ndarray, message: str) -> None:
    video = Video("v", (FeatureSource(Path("v.npy")),), 0)
    np.save(tmp_path / "v.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=message) as error:
        read_scores(tmp_path, [video])
    assert "v.npy" in str(error.value)


def test_missing_score_files_are_counted(make_videos: MakeVideos, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="2 of 2 videos have no scores"):
        read_scores(tmp_path, make_videos(2))


@pytest.mark.parametrize("name", ["../v", "/v", "a/../../v"])
def test_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    video = Video(name, (FeatureSource(Path("v.npy")),), 0)
    with pytest.raises(ValueError, match="rename the video"):
        write_scores(tmp_path / "out", [video], {name: np.zeros(1, np.float32)})


@pytest.mark.parametrize(("frames", "known"), [(80, True), (65, True), (64, False), (20, False)])
def test_frames_are_left_open_where_the_number_of_frames_contradicts_the_snippets(
    frames: int, known: bool
) -> None:
    video = Video("a", (FeatureSource(Path("a.npy")),), None, num_frames=frames)
    rows = snippet_frames(video, 5)
    assert (rows is not None) == known
    if rows is not None:
        assert rows[-1] == (64, frames - 1)
        assert all(first <= last for first, last in rows)
