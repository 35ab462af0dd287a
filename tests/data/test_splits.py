import dataclasses
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladnet_fast._wording import options_named
from ladnet_fast.data import (
    FeatureSource,
    Video,
    select_split,
    split_by_fold,
    stratified_folds,
    train_validation_split,
)


def _videos(normal: int, **classes: int) -> list[Video]:
    """Make normal videos and, for every class, as many anomalous ones, interleaved."""
    kinds = [()] * normal + [(name,) for name, count in classes.items() for _ in range(count)]
    return [
        Video(f"v{i}", (FeatureSource(Path(f"{i}.npy")),), int(bool(kind)), kind)
        for i, kind in enumerate(kinds[::2] + kinds[1::2])
    ]


@given(st.integers(2, 6), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_folds_are_even_in_size_and_label_and_class(k, normal, abuse, arrest):
    videos = _videos(normal + k, Abuse=abuse + k, Arrest=arrest + k)
    folded = stratified_folds(videos, k, seed=1)
    assert [dataclasses.replace(video, fold=None) for video in folded] == videos
    for key in (lambda v: 0, lambda v: v.label, lambda v: v.classes):
        for kind in {key(video) for video in videos}:
            counts = Counter(video.fold for video in folded if key(video) == kind)
            assert set(counts) == set(range(k))
            assert max(counts.values()) - min(counts.values()) <= 1


def test_folds_depend_on_the_seed_alone():
    videos = _videos(20, Abuse=20)
    assert stratified_folds(videos, 5, seed=1) == stratified_folds(videos, 5, seed=1)
    assert stratified_folds(videos, 5, seed=1) != stratified_folds(videos, 5, seed=2)


@pytest.mark.parametrize(
    ("videos", "k", "message"),
    [
        ([], 2, "videos is empty"),
        (_videos(5, Abuse=5), 1, "k must be at least 2"),
        (_videos(5, Abuse=2), 3, "k=3 folds need at least 3 videos of label 1; got 2"),
    ],
)
def test_impossible_folds_are_refused(videos, k, message):
    with pytest.raises(ValueError, match=message):
        stratified_folds(videos, k)


def test_split_by_fold_divides_all_videos_in_order():
    videos = stratified_folds(_videos(6, Abuse=6), 3)
    train, test = split_by_fold(videos, 1)
    assert train == [video for video in videos if video.fold != 1]
    assert test == [video for video in videos if video.fold == 1]


def test_split_by_fold_refuses_videos_without_folds_and_unknown_folds():
    videos = _videos(4, Abuse=4)
    with pytest.raises(ValueError, match=r"video 'v0' has no fold.*stratified_folds"):
        split_by_fold(videos, 0)
    with pytest.raises(ValueError, match=r"got 5, and the folds are \[0, 1\]"):
        split_by_fold(stratified_folds(videos, 2), 5)
    with pytest.raises(ValueError, match=r"at least two folds; got 0, and the folds are \[0\]"):
        split_by_fold([dataclasses.replace(video, fold=0) for video in videos], 0)


@given(st.integers(2, 30), st.integers(2, 30), st.floats(0.01, 0.99), st.integers(0, 99))
def test_validation_split_holds_its_part_of_each_label(normal, abuse, fraction, seed):
    videos = _videos(normal, Abuse=abuse)
    train, validation = train_validation_split(videos, fraction=fraction, seed=seed)
    assert sorted(v.name for v in train + validation) == sorted(v.name for v in videos)
    for label, total in ((0, normal), (1, abuse)):
        held_out = sum(video.label == label for video in validation)
        assert 1 <= held_out <= total - 1
        assert abs(held_out - fraction * total) <= 1
    assert (train, validation) == train_validation_split(videos, fraction=fraction, seed=seed)


def test_validation_split_holds_every_class_in_proportion():
    videos = _videos(10, Abuse=10, Arrest=5, Arson=5)
    _, validation = train_validation_split(videos, fraction=0.2)
    assert Counter(video.class_name for video in validation) == {
        None: 2,
        "Abuse": 2,
        "Arrest": 1,
        "Arson": 1,
    }


@pytest.mark.parametrize(
    ("videos", "fraction", "message"),
    [
        ([], 0.2, "videos is empty"),
        (_videos(5, Abuse=5), 0.0, r"fraction must be in \(0, 1\)"),
        (_videos(5, Abuse=5), 1.0, r"fraction must be in \(0, 1\)"),
        (_videos(5, Abuse=1), 0.2, "label 1 has only one video"),
    ],
)
def test_impossible_validation_split_is_refused(videos, fraction, message):
    with pytest.raises(ValueError, match=message):
        train_validation_split(videos, fraction=fraction)


def test_select_split_lists_the_splits_there_are():
    videos = [dataclasses.replace(v, split=f"s{i % 2}") for i, v in enumerate(_videos(4))]
    assert select_split(videos, "s1") == videos[1::2]
    with pytest.raises(ValueError, match="no video has split 'train'; the splits are: s0, s1"):
        select_split(videos, "train")


def test_errors_name_options_at_the_command_line():
    folds = stratified_folds(_videos(4), 2)
    for call, message in (
        (lambda: split_by_fold(_videos(4), 0), "or give --make-folds K"),
        (lambda: split_by_fold(folds, 5), "--folds must be one of"),
        (lambda: stratified_folds(_videos(2), 3), "--make-folds 3 folds need at least 3"),
        (lambda: train_validation_split(_videos(4), fraction=2), "--validation must be in"),
    ):
        with options_named(), pytest.raises(ValueError, match=message):
            call()
