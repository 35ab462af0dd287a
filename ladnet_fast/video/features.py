"""From frames to features: one row per snippet; with I3D, 1024 numbers per 16 frames."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .._values import count, shown
from .._values import path as checked_path
from .ahead import work_ahead
from .arguments import as_extractor, require_progress
from .decode import announced_frames, frame_rate, read_frames
from .errors import VideoError
from .extractors import Extractor, ExtractorError, Preparation
from .frames import cut_crops, require_crops, resize
from .i3d import I3D
from .resample import require_rate

# Measured (docs/own-videos.md): on CPUs more at once are hardly faster and take more memory.
_BATCH, _BATCH_ON_CPU = 8, 2
_MOST_AHEAD = 256  # frames, however small the crops and large the batch

Features = npt.NDArray[np.float32]
Progress = Callable[[str, int, int | None], None]
"""Called with the video's name, the frames done and how many it has (about), None if unknown."""


class FeatureChunk(NamedTuple):
    """Features of the next snippets of a video, and how many frames have been decoded so far."""

    features: Features
    num_frames: int


def require_batch(batch: int | None) -> int | None:
    """Return ``batch`` if it is None or at least 1, else raise ValueError."""
    return None if batch is None else count("batch", batch, allowed="None or at least 1")


def default_batch(extractor: Extractor) -> int:
    """Return how many snippets go through a loaded extractor at once by default."""
    return _BATCH_ON_CPU if extractor.device.startswith("cpu") else _BATCH


def snippet_features(
    model: I3D | Extractor, frames: npt.NDArray[np.uint8] | Tensor, *, batch: int | None = None
) -> Features:
    """Describe every snippet, 16 frames for I3D, by one row.

    Parameters
    ----------
    model : I3D or Extractor
        The network on any device, in any floating dtype; or another extractor, see
        `ladnet_fast.video.extractors`. T, 16 and 1024 below are I3D's.
    frames : ndarray or Tensor
        (T * 16, H, W, 3) uint8 RGB, as they are: not resized, not cropped. The weights were
        trained at 224 x 224.
    batch : int or None
        Snippets that go through the network at once. None: 2 on a CPU, 8 elsewhere.

    Returns
    -------
    ndarray
        (T, 1024) float32.

    Raises
    ------
    TypeError, ValueError
        If ``frames`` has another dtype or shape, or ``batch`` is not positive.
    """
    batch = require_batch(batch)
    extractor = as_extractor(model)
    size = extractor.frames_per_snippet
    if not isinstance(frames, (np.ndarray, Tensor)):
        raise TypeError(f"frames must be an array or a tensor of uint8; got {shown(frames)}")
    pixels = torch.as_tensor(frames)
    if pixels.dtype != torch.uint8:
        raise TypeError(f"frames must be uint8 RGB in 0 .. 255; got {pixels.dtype}")
    if pixels.ndim != 4 or pixels.shape[3] != 3 or 0 in pixels.shape[1:]:
        raise ValueError(f"frames must have shape (T * {size}, H, W, 3); got {tuple(pixels.shape)}")
    if len(pixels) % size:
        raise ValueError(
            f"frames must hold a multiple of {size}; got {len(pixels)}; leave out the "
            "last incomplete snippet"
        )
    clips = pixels.cpu().unflatten(0, (-1, size)) if len(pixels) else pixels
    if batch is None:
        extractor.load()  # its device is known only then
        batch = default_batch(extractor)
    parts = clips.split(batch)
    rows = [describe(extractor, part.numpy()) for part in parts if len(part)]
    return np.concatenate(rows) if rows else np.empty((0, extractor.width), np.float32)


def iter_features(
    video: str | os.PathLike[str],
    *,
    model: I3D | Extractor,
    crops: int = 1,
    batch: int | None = None,
    progress: Progress | None = None,
    fps: float | None = None,
) -> Generator[FeatureChunk, None, None]:
    """Yield the features of a video piece by piece, in memory that doesn't grow with its length.

    Takes what `extract_features` takes and raises what it raises; the pieces joined along axis 1
    are its result. Decoding, resizing and cropping run in a thread of their own, at most a batch
    ahead; it ends when the generator is exhausted or closed.
    """
    crops, batch = require_crops(crops), require_batch(batch)
    extractor = as_extractor(model)
    require_progress(progress)
    path = checked_path("video", video)
    require_rate(fps)
    total = None
    if progress:
        total = announced_frames(path)
        own = frame_rate(path) if fps is not None else None
        if fps is not None:
            total = round(total * fps / own) if total and own else None
    return _iter_features(path, extractor, crops, batch, progress, total, fps)


def extract_features(
    video: str | os.PathLike[str],
    *,
    model: I3D | Extractor,
    crops: int = 1,
    batch: int | None = None,
    progress: Progress | None = None,
    fps: float | None = None,
) -> Features:
    """Decode a video and compute its features.

    Frames are resized to a short side of 256, cut to 224 x 224 and grouped into snippets of 16
    that don't overlap, at the video's own frame rate; another extractor than I3D has its own
    sizes. A last incomplete snippet is dropped.

    Parameters
    ----------
    video : path-like
        A video file that FFmpeg can read.
    model : I3D or Extractor
        The network on any device, in any floating dtype; or another extractor, see
        `ladnet_fast.video.extractors`.
    crops : int
        1 (centre), 5 (centre and corners) or 10 (these and their mirror images); their order is
        that of `ladnet_fast.video.frames.cut_crops`.
    batch : int or None
        Crops of snippets that go through the network at once. None: 2 on a CPU, where more are
        hardly faster and take more memory; 8 elsewhere.
    progress : callable or None
        Called as ``progress(name, done_frames, total_frames)`` now and then; the total is the
        container's own, None if it doesn't say.
    fps : float or None
        Frames per second: frames are chosen by their times, see `ladnet_fast.video.read_frames`.
        None: all frames, at the video's own rate.

    Returns
    -------
    ndarray
        (crops, T, 1024) float32 with T = number of frames // 16.

    Raises
    ------
    VideoError
        If the file is missing, damaged, holds no video or fewer than 16 frames.
    ValueError
        If ``crops`` or ``batch`` is out of range.
    """
    chunks = iter_features(video, model=model, crops=crops, batch=batch, progress=progress, fps=fps)
    return np.concatenate([chunk.features for chunk in chunks], axis=1)


class _Snippet(NamedTuple):
    """Crops (frames, H, W, 3) of a snippet, and how many frames have come so far.

    The last one of a video may be without crops: it counts the frames that fill no snippet.
    """

    crops: list[Tensor]
    num_frames: int


def _snippets(
    path: Path, extractor: Extractor, crops: int, fps: float | None
) -> Generator[_Snippet, None, None]:
    """Decode, resize and crop; frames are kept at the size they are resized to."""
    size, prepared = extractor.frames_per_snippet, Preparation(*extractor.preparation)
    frames: list[npt.NDArray[np.uint8]] = []
    count = 0
    for frame in read_frames(path, fps=fps):
        count += 1
        height, width = frame.shape[:2]
        target = prepared.size_of(height, width)
        frames.append(resize(frame, target, prepared.filter))
        if len(frames) == size:
            # NumPy copies in this thread; PyTorch would take the network's threads for it.
            snippet = torch.from_numpy(np.stack(frames))
            yield _Snippet(cut_crops(snippet, crops, prepared.crop), count)
            frames = []
    yield _Snippet([], count)


def centre_snippets(path: Path, extractor: Extractor, wanted: int) -> list[npt.NDArray[np.uint8]]:
    """Return the centre crops of a video's first ``wanted`` snippets, each (1, frames, H, W, 3).

    Raises
    ------
    VideoError
        If the file can't be read so far.
    """
    with closing(_snippets(path, extractor, 1, None)) as snippets:
        cut = (crop for snippet in snippets for crop in snippet.crops)
        return [np.ascontiguousarray(crop.numpy())[None] for crop in islice(cut, wanted)]


def _iter_features(
    path: Path,
    extractor: Extractor,
    crops: int,
    batch: int | None,
    progress: Progress | None,
    total: int | None,
    fps: float | None,
) -> Generator[FeatureChunk, None, None]:
    if batch is None:
        extractor.load()  # its device is known only then
        batch = default_batch(extractor)
    size, width = extractor.frames_per_snippet, extractor.width
    waiting: list[Tensor] = []  # crops (16, 224, 224, 3) that wait for a full batch
    rows = np.empty((0, width), np.float32)  # features, crop by crop within a snippet
    count = 0

    def take_rows() -> Features:
        nonlocal rows
        complete = len(rows) // crops
        taken, rows = rows[: complete * crops], rows[complete * crops :]
        return taken.reshape(complete, crops, width).swapaxes(0, 1)

    # The network computes while the next batch is decoded and resized.
    ahead = max(1, min(batch // crops, _MOST_AHEAD // size))
    with closing(work_ahead(_snippets(path, extractor, crops, fps), ahead)) as snippets:
        for snippet in snippets:
            count = snippet.num_frames
            waiting += snippet.crops
            while len(waiting) >= batch:
                described = describe(extractor, _joined(waiting[:batch]))
                del waiting[:batch]
                rows = np.concatenate([rows, described])
                if progress:
                    progress(path.name, count, total)
            if len(rows) >= crops:
                yield FeatureChunk(take_rows(), count)
    if count < size:
        at = "" if fps is None else f" at {fps:g} per second"
        raise VideoError(
            f"{path}: has {count} frames{at}, but a snippet is {size}; use a longer video"
        )
    if waiting:
        rows = np.concatenate([rows, describe(extractor, _joined(waiting))])
    if progress:
        progress(path.name, count, count)
    yield FeatureChunk(take_rows(), count)


def _joined(crops: list[Tensor]) -> npt.NDArray[np.uint8]:
    return np.stack([crop.numpy() for crop in crops])


def describe(extractor: Extractor, clips: npt.NDArray[np.uint8]) -> Features:
    """Call an extractor with (N, frames, H, W, 3) uint8, and check the rows that it returns.

    Raises
    ------
    ExtractorError
        If the rows are not (N, width) float32.
    """
    rows = extractor(clips)
    expected = (len(clips), extractor.width)
    if not isinstance(rows, np.ndarray) or rows.shape != expected or rows.dtype != np.float32:
        got = f"{rows.dtype} {rows.shape}" if isinstance(rows, np.ndarray) else shown(rows)
        raise ExtractorError(
            f"the extractor {extractor.name!r} must return float32 {expected} for clips of shape "
            f"{clips.shape}; it returned {got}"
        )
    return rows
