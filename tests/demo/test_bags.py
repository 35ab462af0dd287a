from __future__ import annotations

from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest

from ladnet_fast.data import load_features, read_frame_labels, read_manifest
from ladnet_fast.demo.bags import (
    BURST_SNIPPETS,
    BURSTS,
    GAP_SNIPPETS,
    STRETCH_SNIPPETS,
    STRETCHES,
    SplicedBag,
    make_bags,
    write_bags,
)
from ladnet_fast.demo.effects import FADE_SNIPPETS
from ladnet_fast.demo.features import Fades, Takes
from ladnet_fast.demo.footage import Clip
from ladnet_fast.demo.reels import HELD_OUT, TRAIN, Stock, make_stock

VIDEOS = {"street": "background", "cats": "foreign", "dogs": "foreign", "sea": "held-out foreign"}
NAMES = list(VIDEOS)
CLIPS = {
    name: Clip(Path(f"{name}.mp4"), role, f"hash of {name}", 36, 48)  # type: ignore[arg-type]
    for name, role in VIDEOS.items()
}
STORYBOARD = np.zeros((5, 2, 2, 3), np.uint8)
FOREIGN = {TRAIN: ("cats", "dogs"), HELD_OUT: ("sea",)}
WHOLE, DISTURBED, FADED = 0, 1, 2


def _takes(name: str) -> Takes:
    """Seven segments, three takes each; a snippet's features say where it comes from.

    They are: video, segment, take and place in it, kind, and for fades the other video and segment.
    """
    segments = np.arange(21) % 7
    features = np.zeros((21, 4, 6), np.float32)
    features[..., 0] = NAMES.index(name)
    features[..., 1] = segments[:, None]
    features[..., 2] = np.arange(21)[:, None] * 10 + np.arange(4)
    places = np.stack([np.arange(21), np.arange(21) % 4], axis=1)
    disturbed = features[places[:, 0], places[:, 1]].copy()
    disturbed[:, 3] = DISTURBED
    return Takes(CLIPS[name], 224, features, segments, disturbed, places, STORYBOARD, cached=True)


def _fades(before: str, after: str) -> Fades:
    """All pairs of two segments each: those of either split, and mixed ones."""
    pairs = np.array([(a, b) for a in (0, 1, 2, 5) for b in (0, 1, 2, 5)])
    features = np.zeros((len(pairs), FADE_SNIPPETS, 6), np.float32)
    features[..., 0], features[..., 4] = NAMES.index(before), NAMES.index(after)
    features[..., 1], features[..., 5] = pairs[:, :1], pairs[:, 1:]
    features[..., 2], features[..., 3] = np.arange(FADE_SNIPPETS), FADED
    return Fades(CLIPS[before], CLIPS[after], features, pairs, STORYBOARD, cached=True)


@pytest.fixture
def stocks() -> dict[str, Stock]:
    takes = [_takes(name) for name in NAMES]
    fades = [_fades("street", "street")]
    for name in NAMES[1:]:
        fades += [_fades("street", name), _fades(name, "street")]
    return {split: make_stock(split, takes, fades) for split in (TRAIN, HELD_OUT)}


def _bags(stocks, split: str, *, snippets: int = 300, count: int = 40, seed: int = 0):
    return make_bags(
        stocks[split],
        count=count,
        snippets=snippets,
        prefix=split,
        rng=np.random.default_rng(seed),
    )


def _shown(row: np.ndarray) -> set[tuple[str, int]]:
    """Videos and segments of a snippet, read from its features."""
    video, segment, _, kind, other, its = row.astype(int).tolist()
    shown = {(NAMES[video], segment)}
    return shown | {(NAMES[other], its)} if kind == FADED else shown


def _sources(bags: list[SplicedBag]) -> set[tuple[str, int]]:
    return set().union(*(_shown(row) for bag in bags for row in bag.features))


def test_the_held_out_foreign_video_never_occurs_in_training(stocks) -> None:
    videos = {name for name, _ in _sources(_bags(stocks, TRAIN))}
    assert videos == {"street", "cats", "dogs"}


def test_held_out_bags_show_no_foreign_footage_of_training(stocks) -> None:
    videos = {name for name, _ in _sources(_bags(stocks, HELD_OUT))}
    assert videos == {"street", "sea"}


def test_no_background_segment_is_in_both_splits(stocks) -> None:
    train = {origin for origin in _sources(_bags(stocks, TRAIN)) if origin[0] == "street"}
    held_out = {origin for origin in _sources(_bags(stocks, HELD_OUT)) if origin[0] == "street"}
    assert train == {("street", segment) for segment in (0, 1, 3, 4, 6)}
    assert held_out == {("street", segment) for segment in (2, 5)}


@pytest.mark.parametrize("split", [TRAIN, HELD_OUT])
def test_the_truth_is_where_the_footage_is_foreign(stocks, split: str) -> None:
    """In a fade, where more than half of the picture is."""
    faded = 0
    for bag in _bags(stocks, split):
        for row, truth, origins in zip(bag.features, bag.truth, bag.origins, strict=True):
            assert set(origins) == _shown(row)
            video, _, position, kind, other, _ = row.astype(int).tolist()
            shown = other if kind == FADED and position >= FADE_SNIPPETS // 2 else video
            assert (NAMES[shown] != "street") == truth
            faded += kind == FADED and {NAMES[video], NAMES[other]} != {"street"}
        assert bag.label == bag.truth.any()
    assert faded


@pytest.mark.parametrize("snippets", [16, 48, 64, 100, 200, 300])
def test_splices_have_their_lengths_and_stand_apart(stocks, snippets: int) -> None:
    seen: set[int] = set()
    for bag in _bags(stocks, TRAIN, snippets=snippets)[1::2]:
        assert len(bag.truth) == len(bag.features) == len(bag.origins) == snippets
        runs = [(value, len(list(run))) for value, run in groupby(bag.truth.tolist())]
        splices = [length for value, length in runs if value]
        gaps = [length for value, length in runs[1:-1] if not value]
        assert all(gap >= min(GAP_SNIPPETS, snippets // 16) for gap in gaps)
        assert max(splices) <= STRETCH_SNIPPETS[1]
        assert len(splices) <= STRETCHES[1] + BURSTS[1]
        seen |= set(splices)
        if snippets >= 160:
            # Half of each fade is background, so a faded stretch is shorter by as much.
            bursts = [length for length in splices if length <= BURST_SNIPPETS[1]]
            stretches = [length for length in splices if length > BURST_SNIPPETS[1]]
            assert BURSTS[0] <= len(bursts) <= BURSTS[1]
            assert STRETCHES[0] <= len(stretches) <= STRETCHES[1]
            assert min(stretches) >= min(STRETCH_SNIPPETS[0], FADE_SNIPPETS)
    if snippets >= 160:
        assert seen >= {1, 2, 3}


def test_fades_run_whole_and_into_foreign_footage_only_at_its_edges(stocks) -> None:
    for bag in _bags(stocks, TRAIN)[1::2]:
        kinds = bag.features[:, 3].astype(int).tolist()
        for index, (before, after) in enumerate(pairwise(bag.truth.tolist())):
            if kinds[index] == kinds[index + 1] == FADED and before != after:
                middle = FADE_SNIPPETS // 2
                fade = bag.features[index + 1 - middle : index + 1 + middle]
                assert fade[:, 2].tolist() == list(range(FADE_SNIPPETS))
                assert (fade[:, [0, 1, 3, 4, 5]] == fade[0, [0, 1, 3, 4, 5]]).all()


def _kinds(bags: list[SplicedBag], *, truth: int) -> set[int]:
    return {int(k) for bag in bags for k in bag.features[bag.truth == truth, 3]}


@pytest.mark.parametrize("split", [TRAIN, HELD_OUT])
def test_normal_bags_have_cuts_fades_and_disturbances_too(stocks, split: str) -> None:
    bags = _bags(stocks, split)
    for part in (bags[::2], bags[1::2]):
        assert _kinds(part, truth=0) == {WHOLE, DISTURBED, FADED}
    assert _kinds(bags, truth=1) == {WHOLE, DISTURBED, FADED}


def test_a_disturbed_snippet_stands_in_its_own_place(stocks) -> None:
    for bag in _bags(stocks, TRAIN, count=4):
        for row, following in pairwise(bag.features):
            if row[3] == DISTURBED and following[3] == WHOLE and following[2] % 10:
                # Within a take: the next snippet is the next one of the same take.
                same = following[2] - row[2] == 1
                assert same or following[0] != row[0] or following[2] // 10 != row[2] // 10


def test_footage_without_fades_and_disturbances_is_cut_alone() -> None:
    takes = [
        Takes(t.clip, 224, t.features, t.segments, t.disturbed[:0], t.places[:0], STORYBOARD, True)
        for t in map(_takes, NAMES)
    ]
    bags = _bags({TRAIN: make_stock(TRAIN, takes, [])}, TRAIN)
    assert {int(kind) for bag in bags for kind in bag.features[:, 3]} == {WHOLE}
    assert all(bag.truth.any() == bag.label for bag in bags)


def test_background_and_foreign_footage_are_cut_in_the_same_rhythm(stocks) -> None:
    joined: dict[bool, list[bool]] = {False: [], True: []}
    for bag in _bags(stocks, TRAIN, count=80)[1::2]:
        for foreign, run in groupby(bag.features, key=lambda row: row[0] > 0 or row[4] > 0):
            rows = [row for row in run if row[3] != FADED]
            if len(rows) > 6:  # bursts end before their takes do
                joined[foreign] += [a[0] == b[0] and b[2] - a[2] == 1 for a, b in pairwise(rows)]
    # Takes are shown for 2, 3 or 4 snippets: two of three steps stay within one.
    assert np.mean(joined[False]) == pytest.approx(2 / 3, abs=0.03)
    assert np.mean(joined[True]) == pytest.approx(2 / 3, abs=0.06)


def test_every_second_bag_is_anomalous(stocks) -> None:
    assert [bag.label for bag in _bags(stocks, TRAIN, count=5)] == [0, 1, 0, 1, 0]


def test_bags_depend_on_the_seed_alone(stocks) -> None:
    one, same, other = (_bags(stocks, TRAIN, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a.features, b.features) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a.features, b.features) for a, b in zip(one, other, strict=True))


def test_training_gets_bag_labels_only(stocks, tmp_path: Path) -> None:
    train, held_out = _bags(stocks, TRAIN, count=4), _bags(stocks, HELD_OUT, count=4)
    videos = {video.name: video for video in read_manifest(write_bags(tmp_path, train, held_out))}
    assert len(videos) == 8
    for bag in train:
        assert videos[bag.name].frame_labels is None
        assert videos[bag.name].label == bag.label
    assert len(list(tmp_path.glob("*.frames.npy"))) == len(held_out)


def test_written_bags_read_back_as_they_are(stocks, tmp_path: Path) -> None:
    train, held_out = _bags(stocks, TRAIN, count=2), _bags(stocks, HELD_OUT, count=2)
    videos = {video.name: video for video in read_manifest(write_bags(tmp_path, train, held_out))}
    for bag in held_out:
        video = videos[bag.name]
        np.testing.assert_array_equal(load_features(video.features[0]), bag.features)
        assert video.frame_labels is not None
        labels = read_frame_labels(video.frame_labels)
        assert len(labels) == video.num_frames == 16 * len(bag.truth)
        np.testing.assert_array_equal(labels[::16], bag.truth)
        np.testing.assert_array_equal(labels[15::16], bag.truth)
