"""Dividing videos into folds and into training and validation sets, always by whole video."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from .._values import as_real, count, shown
from .._wording import either
from .video import Video, require_videos


def select_split(videos: Sequence[Video], split: str) -> list[Video]:
    """Return the videos of one split; ValueError lists the splits there are if it has none."""
    require_videos(videos)
    if split is not None and not isinstance(split, str):
        raise ValueError(f"split must be text, the name of a split; got {shown(split)}")
    chosen = [video for video in videos if video.split == split]
    if not chosen:
        splits = sorted({str(video.split) for video in videos})
        raise ValueError(f"no video has split {split!r}; the splits are: {', '.join(splits)}")
    return chosen


def split_by_fold(videos: Sequence[Video], fold: int) -> tuple[list[Video], list[Video]]:
    """Return (training, test): the videos of all other folds, and those of ``fold``.

    Raises
    ------
    ValueError
        If a video has no fold, or ``fold`` holds no video or all of them.
    """
    require_videos(videos)
    fold = count(either("fold", "--folds"), fold, least=None, allowed="one of the folds")
    for video in videos:
        if video.fold is None:
            remedy = either("assign folds with stratified_folds(videos, k)", "give --make-folds K")
            raise ValueError(
                f"video {video.name!r} has no fold; fill the manifest's column fold, or {remedy}"
            )
    test = [video for video in videos if video.fold == fold]
    if not test or len(test) == len(videos):
        folds = sorted({video.fold for video in videos if video.fold is not None})
        raise ValueError(
            f"{either('fold', '--folds')} must be one of at least two folds; got {fold}, and the "
            f"folds are {folds}"
        )
    return [video for video in videos if video.fold != fold], test


def stratified_folds(videos: Sequence[Video], k: int, *, seed: int = 0) -> list[Video]:
    """Assign folds 0 .. k - 1 at random, with labels and classes spread evenly.

    Parameters
    ----------
    videos : sequence of Video
        At least k of each label that occurs. Folds that they have are replaced.
    k : int
        Number of folds, at least 2.
    seed : int
        Seed of the assignment.

    Returns
    -------
    list of Video
        In the same order. Folds differ by one video at most in their numbers of each label, and
        of all videos.

    Raises
    ------
    ValueError
        If ``k`` is less than 2, or a label has fewer than ``k`` videos.
    """
    require_videos(videos)
    k = count(either("k", "--make-folds"), k, least=2)
    fold_of: dict[int, int] = {}
    dealt = 0
    for label, members in _by_label(videos, seed).items():
        if len(members) < k:
            wanted = either(f"k={k}", f"--make-folds {k}")
            raise ValueError(
                f"{wanted} folds need at least {k} videos of label {label}; got {len(members)}"
            )
        # Dealing goes on where the other label stopped, so that folds stay equally large.
        for member in members:
            fold_of[member] = dealt % k
            dealt += 1
    return [dataclasses.replace(video, fold=fold_of[i]) for i, video in enumerate(videos)]


def train_validation_split(
    videos: Sequence[Video], *, fraction: float = 0.2, seed: int = 0
) -> tuple[list[Video], list[Video]]:
    """Hold out a random part of each label for validation.

    Parameters
    ----------
    videos : sequence of Video
        At least two of each label that occurs.
    fraction : float
        Share to hold out, in (0, 1); at least one video of each label is held out and one stays.
    seed : int
        Seed of the choice.

    Returns
    -------
    (list of Video, list of Video)
        Training and validation, each in the order of ``videos``.

    Raises
    ------
    ValueError
        If ``fraction`` is not in (0, 1), or a label has only one video.
    """
    require_videos(videos)
    part = as_real(fraction)
    if part is None or not 0 < part < 1:
        name = either("fraction", "--validation")
        raise ValueError(f"{name} must be in (0, 1); got {shown(fraction)}")
    held_out: set[int] = set()
    for label, members in _by_label(videos, seed).items():
        if len(members) < 2:
            raise ValueError(
                f"label {label} has only one video, {videos[members[0]].name!r}: "
                "it can't be in both training and validation"
            )
        count = min(max(round(len(members) * fraction), 1), len(members) - 1)
        # Members are sorted by class: evenly spaced ones hold every class in proportion.
        chosen = (np.arange(count) + 0.5) * len(members) / count
        held_out.update(members[i] for i in chosen.astype(int))
    train = [video for i, video in enumerate(videos) if i not in held_out]
    return train, [video for i, video in enumerate(videos) if i in held_out]


def _by_label(videos: Sequence[Video], seed: int) -> dict[int, list[int]]:
    """Shuffle the indices of each label's videos, then group them by class."""
    seed = count("seed", seed, least=0, most=None)
    order = np.random.default_rng(seed).permutation(len(videos)).tolist()
    return {
        label: sorted(
            (i for i in order if videos[i].known_label == label), key=lambda i: videos[i].classes
        )
        for label in sorted({video.known_label for video in videos})
    }
