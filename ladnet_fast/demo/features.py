"""I3D features of every take and cross-fade, computed once and kept in the cache."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..video import I3D, snippet_features
from ..video.frames import Frame
from ..video.i3d import SNIPPET_FRAMES
from ..video.weights import MEMBER_SHA256
from .augment import TAKE_SNIPPETS, Take, plan_takes, render
from .effects import (
    FADE_SNIPPETS,
    Disturbance,
    cross_fade,
    disturb,
    fade_weights,
    plan_disturbances,
    plan_fades,
)
from .errors import DemoError
from .footage import (
    MAX_FRAMES,
    SEGMENT_FRAMES,
    Clip,
    load_footage,
    require_length,
    segments,
)
from .store import Entry, entry_key, kept_entry

#: Of the augmentations; not the user's seed, so that another seed finds the features in the cache.
AUGMENTATION_SEED = 2022
STORYBOARD_FRAMES = 5
_TOGETHER = 8  # snippets at once that are fastest on a CPU


Progress = Callable[[int, int], None]
Loader = Callable[[Clip, int], Frame]


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
    disturbed : ndarray
        (n, D) float32: single snippets of these takes, disturbed.
    places : ndarray
        (n, 2) int64: the take and the snippet in it that each of them replaces.
    storyboard : ndarray
        (5, h, w, 3) uint8, frames spread over the video.
    cached : bool
        Whether the features were in the cache.
    """

    clip: Clip
    num_frames: int
    features: npt.NDArray[np.float32]
    segments: npt.NDArray[np.int64]
    disturbed: npt.NDArray[np.float32]
    places: npt.NDArray[np.int64]
    storyboard: Frame
    cached: bool


@dataclass(frozen=True, slots=True, eq=False)
class Fades:
    """Cross-fades from one take to another.

    Attributes
    ----------
    before, after : Clip
        The videos, which may be the same.
    features : ndarray
        (fades, snippets, D) float32.
    segments : ndarray
        (fades, 2) int64: the segment of each video that is shown.
    storyboard : ndarray
        (5, h, w, 3) uint8, frames spread over one fade.
    cached : bool
        Whether the features were in the cache.
    """

    before: Clip
    after: Clip
    features: npt.NDArray[np.float32]
    segments: npt.NDArray[np.int64]
    storyboard: Frame
    cached: bool


def clip_takes(
    clip: Clip,
    *,
    side: int,
    num_takes: int,
    num_disturbed: int,
    extractor: FeatureExtractor,
    cache: Path,
    load: Loader = load_footage,
    progress: Progress | None = None,
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
    num_takes, num_disturbed : int
        How many takes, and how many single snippets of these with a disturbance.
    extractor : FeatureExtractor
        Called only if the cache lacks something.
    cache : Path
        Folder of the cache; need not exist.
    load : callable
        Gives the frames of a video.
    progress : callable, optional
        Called with the snippets done and their number.

    Raises
    ------
    DemoError
        If the video is too short, or the extractor gives features of another shape.
    VideoError
        If the video is damaged.
    """
    total = num_takes * TAKE_SNIPPETS + num_disturbed
    plan = plan_disturbances(num_disturbed, num_takes, AUGMENTATION_SEED)

    def compute() -> Entry:
        frames = load(clip, side)
        takes = plan_takes(num_takes, len(segments(len(frames))), AUGMENTATION_SEED)
        describe = _Describer(extractor, total, progress)
        rows = describe(render_take(frames, take) for take in takes)
        extra = describe(_disturbed(frames, takes[entry.take], entry) for entry in plan)
        return {
            "features": rows.reshape(num_takes, TAKE_SNIPPETS, -1),
            "segments": np.array([take.segment for take in takes], np.int64),
            "disturbed": extra if num_disturbed else rows[:0],
            "storyboard": _storyboard(frames),
            "num_frames": np.array([len(frames)], np.int64),
        }

    # The plan for one segment stands for all settings of the augmentation.
    settings = _settings(side, extractor) | {
        "content": clip.sha256,
        "takes": [asdict(take) for take in plan_takes(num_takes, 1, AUGMENTATION_SEED)],
        "disturbances": [asdict(entry) for entry in plan],
    }
    entry, cached = kept_entry(cache, entry_key(settings), compute)
    if cached and progress is not None:
        progress(total, total)
    num_frames = int(entry["num_frames"][0])
    require_length(clip, num_frames)  # the entry may come from a run where it had another part
    return Takes(
        clip=clip,
        num_frames=num_frames,
        features=entry["features"],
        segments=entry["segments"],
        disturbed=entry["disturbed"],
        places=np.array([[d.take, d.position] for d in plan], np.int64).reshape(-1, 2),
        storyboard=entry["storyboard"],
        cached=cached,
    )


def pair_fades(
    before: tuple[Clip, Sequence[int]],
    after: tuple[Clip, Sequence[int]],
    *,
    side: int,
    count: int,
    extractor: FeatureExtractor,
    cache: Path,
    load: Loader = load_footage,
    progress: Progress | None = None,
) -> Fades:
    """Return the features of ``count`` cross-fades from one video to another, or within one.

    Parameters
    ----------
    before, after : (Clip, sequence of int)
        A video, and its segments that may be shown.
    side, extractor, cache, load, progress
        As for `clip_takes`.
    count : int
        How many fades.

    Raises
    ------
    DemoError, VideoError
        As for `clip_takes`.
    """
    plan = plan_fades(count, list(before[1]), list(after[1]), AUGMENTATION_SEED)
    total = count * FADE_SNIPPETS

    def compute() -> Entry:
        first, second = load(before[0], side), load(after[0], side)
        describe = _Describer(extractor, total, progress)

        def fade(one: Take, other: Take) -> Frame:
            return cross_fade(
                render_take(first, one, FADE_SNIPPETS), render_take(second, other, FADE_SNIPPETS)
            )

        rows = describe(fade(*takes) for takes in plan)
        return {
            "features": rows.reshape(count, FADE_SNIPPETS, -1),
            "storyboard": _storyboard(fade(*plan[0])),
        }

    settings = _settings(side, extractor) | {
        "content": [before[0].sha256, after[0].sha256],
        "fades": [[asdict(take) for take in takes] for takes in plan],
        "weights": fade_weights().tolist(),
    }
    entry, cached = kept_entry(cache, entry_key(settings), compute)
    if cached and progress is not None:
        progress(total, total)
    shown = np.array([[one.segment, other.segment] for one, other in plan], np.int64)
    return Fades(before[0], after[0], entry["features"], shown, entry["storyboard"], cached)


def render_take(footage: Frame, take: Take, snippets: int = TAKE_SNIPPETS) -> Frame:
    """Show a take of a video, given all the video's frames."""
    return render(footage, take, segments(len(footage))[take.segment], snippets=snippets)


class _Describer:
    """Gives snippets to the extractor in suitable numbers, and reports progress."""

    def __init__(
        self, extractor: FeatureExtractor, total: int, progress: Progress | None = None
    ) -> None:
        self.extractor, self.total, self.progress = extractor, total, progress
        self.done = 0

    def __call__(self, stretches: Iterable[Frame]) -> npt.NDArray[np.float32]:
        """Describe the snippets of all stretches, in order: (n, D)."""
        rows: list[npt.NDArray[np.float32]] = []
        waiting: list[Frame] = []
        for stretch in stretches:
            waiting += np.split(stretch, len(stretch) // SNIPPET_FRAMES)
            while len(waiting) >= _TOGETHER:
                rows.append(self._describe(waiting[:_TOGETHER]))
                waiting = waiting[_TOGETHER:]
        if waiting:
            rows.append(self._describe(waiting))
        return np.concatenate(rows) if rows else np.empty((0, 0), np.float32)

    def _describe(self, snippets: list[Frame]) -> npt.NDArray[np.float32]:
        features = self.extractor(np.concatenate(snippets))
        if features.ndim != 2 or len(features) != len(snippets):
            raise DemoError(
                f"the feature extractor must return {len(snippets)} rows for "
                f"{len(snippets) * SNIPPET_FRAMES} frames; got shape {features.shape}"
            )
        self.done += len(snippets)
        if self.progress is not None:
            self.progress(self.done, self.total)
        return features.astype(np.float32, copy=False)


def _settings(side: int, extractor: FeatureExtractor) -> dict[str, Any]:
    return {
        "extractor": extractor.identity,
        "side": side,
        "frames": [MAX_FRAMES, SEGMENT_FRAMES, SNIPPET_FRAMES, TAKE_SNIPPETS, FADE_SNIPPETS],
    }


def _disturbed(footage: Frame, take: Take, entry: Disturbance) -> Frame:
    start = entry.position * SNIPPET_FRAMES
    return disturb(render_take(footage, take)[start : start + SNIPPET_FRAMES], entry.kind)


def _storyboard(footage: Frame) -> Frame:
    chosen = np.linspace(0, len(footage) - 1, STORYBOARD_FRAMES + 2).round().astype(int)[1:-1]
    return footage[chosen]
