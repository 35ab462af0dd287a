"""All features that the demo needs, of every video and every pair of videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from .._allocator import keep_freed_memory
from .features import Fades, FeatureExtractor, Takes, clip_takes, pair_fades
from .footage import Clip, load_footage, segments
from .options import DemoOptions
from .reels import HELD_OUT, TRAIN, background_segments

#: Called with what is looked at, the snippets done and their number.
Progress = Callable[[str, int, int], None]


def all_features(
    clips: Sequence[Clip],
    *,
    side: int,
    options: DemoOptions,
    extractor: FeatureExtractor,
    cache: Path,
    progress: Progress,
) -> tuple[list[Takes], list[Fades]]:
    """Return the takes of every video and the cross-fades, from the cache where it has them."""
    foreign = [clip for clip in clips if clip.role == "foreign"]
    load = lru_cache(maxsize=2)(load_footage)  # frames are large: those of one pair at a time
    common: dict[str, Any] = {"side": side, "extractor": extractor, "cache": cache, "load": load}
    with keep_freed_memory():
        takes = [
            clip_takes(
                clip,
                num_takes=options.takes(clip.role, len(foreign)),
                num_disturbed=options.disturbed(clip.role),
                progress=partial(progress, clip.name),
                **common,
            )
            for clip in clips
        ]
        fades = [
            pair_fades(
                before,
                after,
                count=count,
                progress=partial(progress, f"{before[0].name} to {after[0].name}"),
                **common,
            )
            for before, after, count in _pairs(takes, options)
        ]
    return takes, fades


def _pairs(
    takes: Sequence[Takes], options: DemoOptions
) -> list[tuple[tuple[Clip, list[int]], tuple[Clip, list[int]], int]]:
    """List the pairs of footage that fade into each other, and how often; never across splits."""
    if options.fades == 0:
        return []
    (background,) = (entry for entry in takes if entry.clip.role == "background")
    shared = background_segments(len(segments(background.num_frames)))
    pairs = []
    for split, role in ((TRAIN, "foreign"), (HELD_OUT, "held-out foreign")):
        own = (background.clip, shared[split])
        pairs.append((own, own, options.fades))
        others = [entry for entry in takes if entry.clip.role == role]
        count = max(1, options.fades // len(others))
        for entry in others:
            other = (entry.clip, list(range(len(segments(entry.num_frames)))))
            pairs += [(own, other, count), (other, own, count)]
    return pairs
