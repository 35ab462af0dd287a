from __future__ import annotations

from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast.data import load_features, read_frame_labels, read_manifest
from ladnet_fast.demo.bags import (
    GAP_SNIPPETS,
    HELD_OUT,
    SPLICE_SNIPPETS,
    TRAIN,
    Reel,
    SplicedBag,
    make_bags,
    make_reels,
    write_bags,
)
from ladnet_fast.demo.features import Takes
from ladnet_fast.demo.footage import Clip

VIDEOS = {"street": "background", "cats": "foreign", "dogs": "foreign", "sea": "held-out foreign"}


def _takes(number: int, name: str, role: str) -> Takes:
    """Seven segments, three takes each; a snippet's features say where it comes from."""
    segments = np.arange(21) % 7
    features = np.empty((21, 4, 3), np.float32)
    features[..., 0] = number
    features[..., 1] = segments[:, None]
    features[..., 2] = np.arange(21)[:, None] * 10 + np.arange(4)
    clip = Clip(Path(f"{name}.mp4"), role, f"hash of {name}", 36, 48)  # type: ignore[arg-type]
    return Takes(clip, 224, features, segments, np.zeros((5, 2, 2, 3), np.uint8), cached=True)


@pytest.fixture
def reels() -> dict[tuple[str, str], Reel]:
    return make_reels([_takes(i, name, role) for i, (name, role) in enumerate(VIDEOS.items())])


def _bags(reels, split: str, *, snippets: int = 300, count: int = 40, seed: int = 0):
    return make_bags(
        reels[split, "background"],
        reels[split, "foreign"],
        count=count,
        snippets=snippets,
        prefix=split,
        rng=np.random.default_rng(seed),
    )


def _sources(bags: list[SplicedBag]) -> set[tuple[str, int]]:
    """Videos and segments, read from the features themselves."""
    names = list(VIDEOS)
    rows = np.concatenate([bag.features for bag in bags]).astype(int)
    return {(names[number], segment) for number, segment, _ in rows.tolist()}


def test_the_held_out_foreign_video_never_occurs_in_training(reels) -> None:
    videos = {name for name, _ in _sources(_bags(reels, TRAIN))}
    assert videos == {"street", "cats", "dogs"}


def test_held_out_bags_show_no_foreign_footage_of_training(reels) -> None:
    videos = {name for name, _ in _sources(_bags(reels, HELD_OUT))}
    assert videos == {"street", "sea"}


def test_no_background_segment_is_in_both_splits(reels) -> None:
    train = {origin for origin in _sources(_bags(reels, TRAIN)) if origin[0] == "street"}
    held_out = {origin for origin in _sources(_bags(reels, HELD_OUT)) if origin[0] == "street"}
    assert train == {("street", segment) for segment in (0, 1, 3, 4, 6)}
    assert held_out == {("street", segment) for segment in (2, 5)}


@pytest.mark.parametrize("split", [TRAIN, HELD_OUT])
def test_the_truth_is_where_the_footage_is_foreign(reels, split: str) -> None:
    for bag in _bags(reels, split):
        background = bag.features[:, 0] == list(VIDEOS).index("street")
        np.testing.assert_array_equal(bag.truth, ~background)
        assert bag.label == bag.truth.any()
        assert [name == "street" for name, _ in bag.origins] == background.tolist()


@pytest.mark.parametrize("snippets", [16, 48, 100, 200, 300])
def test_splices_have_their_lengths_and_stand_apart(reels, snippets: int) -> None:
    for bag in _bags(reels, TRAIN, snippets=snippets)[1::2]:
        runs = [(value, len(list(run))) for value, run in groupby(bag.truth.tolist())]
        splices = [length for value, length in runs if value]
        gaps = [length for value, length in runs[1:-1] if not value]
        assert 1 <= len(splices) <= 3
        assert max(splices) <= SPLICE_SNIPPETS[1]
        assert len(bag.truth) == len(bag.features) == len(bag.origins) == snippets
        assert all(gap >= min(GAP_SNIPPETS, snippets // 16) for gap in gaps)
        if snippets >= 144:
            assert min(splices) >= SPLICE_SNIPPETS[0]


def test_background_and_foreign_footage_are_cut_in_the_same_rhythm(reels) -> None:
    takes = {0: [], 1: []}
    for bag in _bags(reels, TRAIN)[1::2]:
        for truth, shown in groupby(
            zip(bag.truth.tolist(), bag.features[:, [0, 2]].tolist(), strict=True),
            key=lambda snippet: snippet[0],
        ):
            rows = [row for _, row in shown]
            joined = [a[0] == b[0] and b[1] - a[1] == 1 for a, b in pairwise(rows)]
            takes[truth] += joined
    # Takes are shown for 2, 3 or 4 snippets: two of three steps stay within one.
    assert np.mean(takes[0]) == pytest.approx(2 / 3, abs=0.03)
    assert np.mean(takes[1]) == pytest.approx(2 / 3, abs=0.06)


def test_every_second_bag_is_anomalous(reels) -> None:
    assert [bag.label for bag in _bags(reels, TRAIN, count=5)] == [0, 1, 0, 1, 0]


def test_bags_depend_on_the_seed_alone(reels) -> None:
    one, same, other = (_bags(reels, TRAIN, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a.features, b.features) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a.features, b.features) for a, b in zip(one, other, strict=True))


def test_training_gets_bag_labels_only(reels, tmp_path: Path) -> None:
    train, held_out = _bags(reels, TRAIN, count=4), _bags(reels, HELD_OUT, count=4)
    videos = {video.name: video for video in read_manifest(write_bags(tmp_path, train, held_out))}
    assert len(videos) == 8
    for bag in train:
        assert videos[bag.name].frame_labels is None
        assert videos[bag.name].label == bag.label
    assert len(list(tmp_path.glob("*.frames.npy"))) == len(held_out)


def test_written_bags_read_back_as_they_are(reels, tmp_path: Path) -> None:
    train, held_out = _bags(reels, TRAIN, count=2), _bags(reels, HELD_OUT, count=2)
    videos = {video.name: video for video in read_manifest(write_bags(tmp_path, train, held_out))}
    for bag in held_out:
        video = videos[bag.name]
        np.testing.assert_array_equal(load_features(video.features[0]), bag.features)
        assert video.frame_labels is not None
        labels = read_frame_labels(video.frame_labels)
        assert len(labels) == video.num_frames == 16 * len(bag.truth)
        np.testing.assert_array_equal(labels[::16], bag.truth)
        np.testing.assert_array_equal(labels[15::16], bag.truth)
