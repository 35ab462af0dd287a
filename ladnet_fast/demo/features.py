"""I3D features of every take, computed once and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from ladnet_fast._files import remove_leftovers
from ladnet_fast._records import DamagedFileError
from ladnet_fast._tensors import load_tensors, save_tensors
from ladnet_fast.demo.augment import TAKE_SNIPPETS, Take, plan_takes, render
from ladnet_fast.demo.errors import DemoError
from ladnet_fast.demo.footage import (
    MAX_FRAMES,
    SEGMENT_FRAMES,
    Clip,
    load_footage,
    require_length,
    segments,
)
from ladnet_fast.video import I3D, snippet_features
from ladnet_fast.video.frames import Frame
from ladnet_fast.video.i3d import SNIPPET_FRAMES
from ladnet_fast.video.weights import MEMBER_SHA256

#: Of the augmentations; not the user's seed, so that another seed finds the features in the cache.
AUGMENTATION_SEED = 2022
#: Part of every key: raise it when decoding, augmenting or extracting gives other numbers.
CACHE_VERSION = 2
STORYBOARD_FRAMES = 5
_TAKES_TOGETHER = 2  # 8 snippets at once are fastest on a CPU

log = logging.getLogger(__name__)


class FeatureExtractor(Protocol):
    """Describes snippets. ``identity`` tells extractors apart that give different numbers."""

    @property
    def identity(self) -> str:
        """Part of the cache's key."""
        ...

    def __call__(self, frames: Frame) -> npt.NDArray[np.float32]:
        """Map (16 n, 224, 224, 3) uint8 to (n, D) float32."""
        ...


class I3DExtractor:
    """I3D with the Kinetics-400 weights; these are loaded when the first snippet comes."""

    def __init__(self, cache_dir: str | os.PathLike[str] | None = None) -> None:
        self.cache_dir = cache_dir
        self._model: I3D | None = None

    @property
    def identity(self) -> str:
        """The weights' hash and the precision."""
        return f"i3d {MEMBER_SHA256} float32"

    def __call__(self, frames: Frame) -> npt.NDArray[np.float32]:
        """Map (16 n, 224, 224, 3) uint8 to (n, 1024) float32."""
        if self._model is None:
            self._model = I3D.from_pretrained(self.cache_dir)
        return snippet_features(self._model, frames)


@dataclass(frozen=True, slots=True, eq=False)
class Takes:
    """The takes of one video.

    Attributes
    ----------
    clip : Clip
        The video.
    num_frames : int
        How many of its frames were used.
    features : ndarray
        (takes, snippets, D) float32.
    segments : ndarray
        (takes,) int64, the segment of the video that each take shows.
    storyboard : ndarray
        (5, h, w, 3) uint8, frames spread over the video.
    cached : bool
        Whether the features were in the cache.
    """

    clip: Clip
    num_frames: int
    features: npt.NDArray[np.float32]
    segments: npt.NDArray[np.int64]
    storyboard: Frame
    cached: bool


def clip_takes(
    clip: Clip,
    *,
    side: int,
    num_takes: int,
    extractor: FeatureExtractor,
    cache: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Takes:
    """Return the features of ``num_takes`` takes of a video, from the cache if they are there.

    The key is a hash of the video's content, the extractor's identity and all settings: a file that
    was moved or renamed is found, one that was changed is not.

    Parameters
    ----------
    clip : Clip
        The video.
    side : int
        Short side that its frames are brought to.
    num_takes : int
        How many takes.
    extractor : FeatureExtractor
        Called only if the cache lacks something.
    cache : Path
        Folder of the cache; need not exist.
    progress : callable, optional
        Called with the snippets done and their number.

    Raises
    ------
    DemoError
        If the video is too short, or the extractor gives features of another shape.
    VideoError
        If the video is damaged.
    """
    key = _key(clip, side, num_takes, extractor.identity)
    path = cache / f"{key}.safetensors"
    total = num_takes * TAKE_SNIPPETS
    entry = _read(path, key)
    cached = entry is not None
    if entry is None:
        footage = load_footage(clip, side)
        pieces = segments(len(footage))
        plan = plan_takes(num_takes, len(pieces), AUGMENTATION_SEED)
        rows: list[npt.NDArray[np.float32]] = []
        for first in range(0, num_takes, _TAKES_TOGETHER):
            together = plan[first : first + _TAKES_TOGETHER]
            frames = [render(footage, take, pieces[take.segment]) for take in together]
            rows.append(_checked(extractor(np.concatenate(frames)), len(frames)))
            if progress is not None:
                progress((first + len(together)) * TAKE_SNIPPETS, total)
        entry = {
            "features": np.concatenate(rows),
            "segments": np.array([take.segment for take in plan], np.int64),
            "storyboard": _storyboard(footage),
            "num_frames": np.array([len(footage)], np.int64),
        }
        remove_leftovers(cache)
        tensors = {name: torch.from_numpy(array) for name, array in entry.items()}
        save_tensors(path, tensors, {"key": key})
    elif progress is not None:
        progress(total, total)
    num_frames = int(entry["num_frames"][0])
    require_length(clip, num_frames)  # the entry may come from a run where it had another part
    return Takes(
        clip, num_frames, entry["features"], entry["segments"], entry["storyboard"], cached
    )


def _key(clip: Clip, side: int, num_takes: int, identity: str) -> str:
    # The plan for one segment stands for the augmentation's own settings.
    example: list[Take] = plan_takes(num_takes, 1, AUGMENTATION_SEED)
    settings = {
        "version": CACHE_VERSION,
        "content": clip.sha256,
        "extractor": identity,
        "side": side,
        "frames": [MAX_FRAMES, SEGMENT_FRAMES, SNIPPET_FRAMES, TAKE_SNIPPETS],
        "takes": [asdict(take) for take in example],
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _read(path: Path, key: str) -> dict[str, Any] | None:
    """Read an entry of the cache if every byte is as it was written, else return None."""
    if not path.exists():
        return None
    try:
        metadata, tensors = load_tensors(path)
        if metadata != {"key": key}:
            raise DamagedFileError(f"{path} is the entry of something else")
    except DamagedFileError as error:
        log.warning("%s; the features are computed again", error)
        return None
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _checked(features: npt.NDArray[np.float32], takes: int) -> npt.NDArray[np.float32]:
    if features.ndim != 2 or len(features) != takes * TAKE_SNIPPETS:
        raise DemoError(
            f"the feature extractor must return {takes * TAKE_SNIPPETS} rows for "
            f"{takes * TAKE_SNIPPETS * SNIPPET_FRAMES} frames, got shape {features.shape}"
        )
    return features.reshape(takes, TAKE_SNIPPETS, -1).astype(np.float32, copy=False)


def _storyboard(footage: Frame) -> Frame:
    chosen = np.linspace(0, len(footage) - 1, STORYBOARD_FRAMES + 2).round().astype(int)[1:-1]
    return footage[chosen]
