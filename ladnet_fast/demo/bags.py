"""Long bags cut together from takes: the anomalous ones have foreign footage spliced in.

A splice replaces whole snippets, and I3D sees every snippet by itself. So cutting features together
gives exactly what I3D would give for the frames cut together, and the frame-level truth is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ladnet_fast._files import atomic_path
from ladnet_fast.data import FeatureSource, Video, write_manifest
from ladnet_fast.demo.features import Takes
from ladnet_fast.demo.footage import is_held_out
from ladnet_fast.video.i3d import SNIPPET_FRAMES

TRAIN, HELD_OUT = "train", "held-out"
SPLICES = (1, 3)
SPLICE_SNIPPETS = (6, 24)
GAP_SNIPPETS = 8
MANIFEST = "videos.csv"


@dataclass(frozen=True, slots=True, eq=False)
class Reel:
    """Takes that bags are cut from.

    Attributes
    ----------
    features : ndarray
        (takes, snippets, D) float32.
    origins : list of (str, int)
        For every take the video's name and the segment of it that is shown.
    """

    features: npt.NDArray[np.float32]
    origins: list[tuple[str, int]]


@dataclass(frozen=True, slots=True, eq=False)
class SplicedBag:
    """One bag.

    Attributes
    ----------
    name : str
        Also the name of its files.
    label : int
        1 if foreign footage is in it.
    features : ndarray
        (T, D) float32.
    truth : ndarray
        (T,) uint8, 1 where the snippet is foreign.
    origins : list of (str, int)
        (T,): the video and the segment that every snippet comes from.
    """

    name: str
    label: int
    features: npt.NDArray[np.float32]
    truth: npt.NDArray[np.uint8]
    origins: list[tuple[str, int]] = field(repr=False)


def make_reels(clips: Sequence[Takes]) -> dict[tuple[str, str], Reel]:
    """Sort takes by where they may occur.

    Returns
    -------
    dict
        ``(split, kind)`` -> Reel for the splits "train" and "held-out" and the kinds
        "background" and "foreign". The background's segments are shared out between the splits;
        the held-out foreign video is in no reel of training.
    """
    chosen: dict[tuple[str, str], list[tuple[Takes, int]]] = {}
    for takes in clips:
        for index, segment in enumerate(takes.segments.tolist()):
            if takes.clip.role == "background":
                key = (HELD_OUT if is_held_out(segment) else TRAIN, "background")
            else:
                key = (TRAIN if takes.clip.role == "foreign" else HELD_OUT, "foreign")
            chosen.setdefault(key, []).append((takes, index))
    return {
        key: Reel(
            np.stack([takes.features[index] for takes, index in entries]),
            [(takes.clip.name, int(takes.segments[index])) for takes, index in entries],
        )
        for key, entries in chosen.items()
    }


def make_bags(
    background: Reel,
    foreign: Reel,
    *,
    count: int,
    snippets: int,
    prefix: str,
    rng: np.random.Generator,
) -> list[SplicedBag]:
    """Cut ``count`` bags of ``snippets`` snippets; every second one is anomalous.

    Background and foreign footage are cut in the same rhythm, so a cut by itself tells nothing. An
    anomalous bag has 1 to 3 splices of 6 to 24 snippets with 8 or more of background between them;
    in bags under 144 snippets these shrink.
    """
    bags = []
    for index in range(count):
        label = index % 2
        features, origins = _play(background, snippets, rng)
        truth = np.zeros(snippets, np.uint8)
        for start, stop in _places(snippets, rng) if label else ():
            features[start:stop], origins[start:stop] = _play(foreign, stop - start, rng)
            truth[start:stop] = 1
        kind = "anomalous" if label else "normal"
        bags.append(SplicedBag(f"{prefix}-{index:03d}-{kind}", label, features, truth, origins))
    return bags


def write_bags(folder: Path, train: Sequence[SplicedBag], held_out: Sequence[SplicedBag]) -> Path:
    """Write features, the held-out bags' frame labels and a manifest; return the manifest's path.

    Training bags have no frame labels: training can't see what isn't there.
    """
    videos = []
    for split, bags in ((TRAIN, train), (HELD_OUT, held_out)):
        for bag in bags:
            path = folder / f"{bag.name}.npy"
            _save(path, bag.features)
            labels = None
            if split == HELD_OUT:
                labels = folder / f"{bag.name}.frames.npy"
                _save(labels, np.repeat(bag.truth, SNIPPET_FRAMES))
            videos.append(
                Video(
                    name=bag.name,
                    features=(FeatureSource(path),),
                    label=bag.label,
                    num_frames=len(bag.truth) * SNIPPET_FRAMES,
                    frames_per_snippet=SNIPPET_FRAMES,
                    frame_labels=labels,
                    split=split,
                )
            )
    manifest = folder / MANIFEST
    write_manifest(manifest, videos)
    return manifest


def _play(
    reel: Reel, snippets: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], list[tuple[str, int]]]:
    """Show takes one after the other, 2 or more consecutive snippets of each."""
    length = reel.features.shape[1]
    rows: list[npt.NDArray[np.float32]] = []
    origins: list[tuple[str, int]] = []
    while len(origins) < snippets:
        take = int(rng.integers(len(reel.features)))
        shown = int(rng.integers(min(2, length), length + 1))
        start = int(rng.integers(0, length - shown + 1))
        rows.append(reel.features[take, start : start + shown])
        origins += [reel.origins[take]] * shown
    return np.concatenate(rows)[:snippets].copy(), origins[:snippets]


def _places(snippets: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Draw splices [start, stop) with background between any two; short bags get shorter ones."""
    wanted = int(rng.integers(SPLICES[0], SPLICES[1] + 1))
    longest = max(1, min(SPLICE_SNIPPETS[1], snippets // (2 * SPLICES[1])))
    lengths = rng.integers(min(SPLICE_SNIPPETS[0], longest), longest + 1, size=wanted)
    gap = min(GAP_SNIPPETS, snippets // 16)
    # Starts as they would be without splices and gaps, then moved to make room for these.
    spare = snippets - int(lengths.sum()) - gap * (wanted - 1)
    starts = np.sort(rng.integers(0, spare + 1, size=wanted))
    places, shift = [], 0
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        places.append((start + shift, start + shift + length))
        shift += length + gap
    return places


def _save(path: Path, array: npt.NDArray[np.generic]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)
