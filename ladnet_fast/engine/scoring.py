"""Scores of whole videos, averaged over their crops, and the files that hold them."""

from __future__ import annotations

import csv
import io
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._choices import MAX_SNIPPETS, SCORING_PRECISIONS
from .._records import record_text, recorded, verify
from .._times import clock
from .._values import choice
from .._values import path as checked_path
from ..data import Crop, DataError, Video, count_crops, iter_crops, num_snippets
from ..data._arrays import hdf5_kept_open
from ..nn import LANet

Scores = NDArray[np.float32]
#: Called with a video's name, the number of videos done and of all.
Progress = Callable[[str, int, int], None]

# Kinds in records: of scores whose record names the features, and of a run's test videos.
KIND, KIND_OF_TESTED = "scores", "scores of test videos"


def score_video(
    model: LANet,
    video: Video,
    *,
    max_snippets: int = MAX_SNIPPETS,
    crops: Sequence[Crop] | None = None,
    precision: str = "fp32",
) -> Scores:
    """Score every snippet of a video at its full length.

    Parameters
    ----------
    model : LANet
        On any device; runs in evaluation mode.
    video : Video
        Its label is not looked at. Queries are used where the network has ``query_dim``.
    max_snippets : int
        Crops go through the network together up to this many snippets, and always at least one:
        memory is bounded by this or by one crop of the video, whichever is larger.
    crops : sequence of Crop, optional
        All crops of the video as `iter_crops` yields them, where they have been read already.
    precision : {"fp32", "bf16"}
        "bf16" computes the embeddings under autocast, and the scores from them in float32. The
        scores differ by some thousandths (docs/training.md has them).

    Returns
    -------
    ndarray, (T,), float32
        The mean over the crops, summed in float64.

    Raises
    ------
    ValueError
        If an argument is not allowed, the features don't fit the network, or a score is not finite;
        names the argument or the video.
    DataError, FileNotFoundError
        From a feature file.
    """
    if max_snippets < 1:
        raise ValueError(f"max_snippets must be at least 1; got {max_snippets}")
    choice("precision", precision, SCORING_PRECISIONS)
    training = model.training
    model.eval()
    try:
        total: NDArray[np.float64] | None = None
        with torch.inference_mode(), hdf5_kept_open():
            count = count_crops(video) if crops is None else len(crops)
            for features, query in _crop_batches(model, video, max_snippets, crops, count):
                rows = _scored(model, features, query, precision)
                scores = rows.double().sum(0).cpu().numpy()
                total = scores if total is None else total + scores
    finally:
        model.train(training)
    assert total is not None, "a video has at least one crop"
    mean = (total / count).astype(np.float32)
    if not np.isfinite(mean).all():
        raise ValueError(
            f"{video.name}: the score of snippet {int(np.flatnonzero(~np.isfinite(mean))[0])} is "
            "not finite; the features were, so the model's weights are damaged or its "
            "implementation overflowed"
        )
    return mean


def score_videos(
    model: LANet,
    videos: Sequence[Video],
    *,
    max_snippets: int = MAX_SNIPPETS,
    precision: str = "fp32",
    progress: Progress | None = None,
) -> dict[str, Scores]:
    """Score several videos; see `score_video`. Returns name -> scores, in their order."""
    scores = {}
    for done, video in enumerate(videos):
        if progress is not None:
            progress(video.name, done, len(videos))
        scores[video.name] = score_video(
            model, video, max_snippets=max_snippets, precision=precision
        )
    if progress is not None:
        progress("", len(videos), len(videos))
    return scores


def _scored(model: LANet, features: Tensor, query: Tensor | None, precision: str) -> Tensor:
    if precision == "fp32":
        return model(features, query=query).scores
    kind = features.device.type
    with torch.autocast(kind, dtype=torch.bfloat16):
        embeddings = model(features, query=query).features
    # Near 1 a bfloat16 has 8 bits: many snippets would have one score.
    with torch.autocast(kind, enabled=False):
        return model._score(embeddings.float())


def _crop_batches(
    model: LANet, video: Video, max_snippets: int, crops: Sequence[Crop] | None, left: int
) -> Iterator[tuple[Tensor, Tensor | None]]:
    wants_query = model.query_dim is not None
    if wants_query and video.query is None:
        raise ValueError(
            f"{video.name}: the model needs queries of width {model.query_dim} (audio features), "
            "but the video has none; fill the manifest's column query"
        )
    device = next(model.parameters()).device
    length = len(crops[0].features) if crops else num_snippets(video)
    together = max(1, max_snippets // length)
    waiting: list[Crop] = []
    for crop in iter_crops(video) if crops is None else crops:
        if crop.features.shape[1] != model.feature_dim:
            raise ValueError(
                f"{video.name}: features are {crop.features.shape[1]} wide, but the model was "
                f"trained on {model.feature_dim}; give features from the same extractor"
            )
        waiting.append(crop)
        left -= 1
        if len(waiting) == together or not left:
            query = None
            if wants_query:
                query = torch.from_numpy(
                    np.stack([c.query for c in waiting if c.query is not None])
                )
            features = torch.from_numpy(np.stack([c.features for c in waiting]))
            yield features.to(device), None if query is None else query.to(device)
            waiting = []


def write_scores(
    folder: str | os.PathLike[str],
    videos: Sequence[Video],
    scores: Mapping[str, Scores],
    *,
    made: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write the scores of each video as ``NAME.npy`` and ``NAME.csv``, each atomically.

    The ``.npy`` holds one float32 per snippet, (T,): what `read_scores` reads. The CSV has
    the columns ``snippet,first_frame,last_frame,score``, counted from 0, the last frame included;
    frames are empty where they are not known. ``made`` goes into the files' records.

    Returns
    -------
    list of Path
        The ``.npy`` files, in the order of ``videos``.
    """
    paths = []
    for video in videos:
        path = score_path(folder, video.name)
        about = {"kind": KIND_OF_TESTED, "video": video.name} if made is None else made
        # The table first: with the .npy, which other commands read, the video is done.
        table = path.with_name(path.name.removesuffix(".npy") + ".csv")
        record_text(table, score_table(video, scores[video.name]), about)
        with recorded(path, about) as temporary, temporary.open("wb") as file:
            np.save(file, scores[video.name])
        paths.append(path)
    return paths


def read_scores(folder: str | os.PathLike[str], videos: Sequence[Video]) -> dict[str, Scores]:
    """Read the ``NAME.npy`` of every video, as `write_scores` or another program wrote them.

    Raises
    ------
    FileNotFoundError
        If a video has no file; says how many have none.
    DataError
        If a file is damaged, or does not hold one finite number per snippet.
    DamagedFileError
        If a file that ``score`` wrote has other bytes now.
    """
    folder = checked_path("folder", folder)
    paths = {video.name: score_path(folder, video.name) for video in videos}
    missing = [path for path in paths.values() if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} videos have no scores, e.g. {missing[0]}; "
            "score them first (ladnet-fast score), or name the folder that holds the files"
        )
    return {name: _read(path) for name, path in paths.items()}


def score_path(folder: str | os.PathLike[str], name: str) -> Path:
    """Return the ``.npy`` file of a video; its name may hold folders, but must not leave ours."""
    parts = PurePath(name).parts
    if not parts or ".." in parts or PurePath(name).is_absolute():
        raise ValueError(f"video name {name!r} can't name a file; rename the video in the manifest")
    return Path(folder) / f"{name}.npy"


def _read(path: Path) -> Scores:
    verify(path)
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path} is not a readable .npy file: {error}") from error
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in "fiu":
        shape = getattr(array, "shape", None)
        raise DataError(f"{path}: scores must be one per snippet, of shape (T,); got {shape}")
    if len(array) == 0 or not np.isfinite(array).all():
        raise DataError(
            f"{path}: scores must be finite, and at least one; got NaN, infinity or none"
        )
    return array.astype(np.float32)


def snippet_frames(video: Video, length: int) -> list[tuple[int, int]] | None:
    """Return the first and last frame of each of ``length`` snippets; None where not known.

    Also None where the video's number of frames contradicts ``length`` by a snippet or more.
    """
    total, each = video.num_frames, video.frames_per_snippet
    if each is None:
        if total is None:
            return None
        edges = [-(-t * total // length) for t in range(length + 1)]
    else:
        edges = [t * each for t in range(length + 1)]
    last = edges[-1] if total is None else min(edges[-1], total)
    if last <= edges[-2]:
        return None
    return [(start, min(stop, last) - 1) for start, stop in itertools.pairwise(edges)]


def score_table(video: Video, scores: Scores, fps: float | None = None) -> str:
    """Return the text of ``NAME.csv``; with ``fps`` and known frames a column ``time`` at the end.

    It is the time at which the snippet begins, h:mm:ss with thousandths.
    """
    frames = snippet_frames(video, len(scores))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    timed = fps is not None and frames is not None
    writer.writerow(["snippet", "first_frame", "last_frame", "score", *(["time"] if timed else [])])
    for snippet, score in enumerate(scores):
        first, last = ("", "") if frames is None else frames[snippet]
        # repr of a float32 is the shortest text that reads back as the same number.
        time = [clock(int(first) / fps, decimals=3)] if timed and fps is not None else []
        writer.writerow([snippet, first, last, str(score), *time])
    return out.getvalue()
