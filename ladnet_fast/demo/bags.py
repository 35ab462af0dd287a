"""Long bags cut together from takes: the anomalous ones have foreign footage spliced in.

Blocks are whole snippets, and I3D sees every snippet by itself. So putting features in a row gives
exactly what I3D would give for the frames in a row, and the frame-level truth is exact.

Neither a cut nor a cross-fade nor a single odd snippet gives an anomalous bag away: normal ones
have all of these too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .._files import atomic_path
from ..data import FeatureSource, Video, write_manifest
from ..data.manifest import MANIFEST
from ..video.i3d import SNIPPET_FRAMES
from .effects import FADE_SNIPPETS, fade_truth
from .reels import HELD_OUT, TRAIN, FadeReel, Origin, Reel, Stock

#: Of an anomalous bag: stretches and bursts of foreign footage, and their lengths in snippets.
STRETCHES, STRETCH_SNIPPETS = (1, 2), (8, 20)
BURSTS, BURST_SNIPPETS = (1, 3), (1, 3)
GAP_SNIPPETS = 8
#: Share of stretches that begin, and that end, with a cross-fade instead of a cut.
FADED = 0.75
#: Share of blocks of footage that are a cross-fade, and that are a take with a disturbed snippet.
FADE_RATE, DISTURBANCE_RATE = 0.06, 0.12

Rows = tuple[npt.NDArray[np.float32], list[tuple[Origin, ...]]]


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
        (T,) uint8, 1 where the snippet is foreign; in a cross-fade from weight 0.5 on.
    origins : list of tuple of (str, int)
        (T,): the videos and segments that every snippet shows, two in a cross-fade.
    """

    name: str
    label: int
    features: npt.NDArray[np.float32]
    truth: npt.NDArray[np.uint8]
    origins: list[tuple[Origin, ...]] = field(repr=False)


def make_bags(
    stock: Stock, *, count: int, snippets: int, prefix: str, rng: np.random.Generator
) -> list[SplicedBag]:
    """Cut ``count`` bags of ``snippets`` snippets; every second one is anomalous.

    Background and foreign footage are cut in the same rhythm and disturbed as often. An anomalous
    bag has 1 or 2 stretches of 8 to 20 snippets, most of them cross-faded at either end, and 1 to 3
    bursts of 1 to 3 snippets, with 8 or more of background between any two; in short bags all of
    these shrink, and bags under 64 snippets have one stretch without fades.
    """
    bags = []
    for index in range(count):
        label = index % 2
        features, origins = _play(stock.background, snippets, rng, stock.between)
        truth = np.zeros(snippets, np.uint8)
        for start, stop, burst in _places(snippets, rng) if label else ():
            _splice(stock, (start, stop), burst, features, origins, truth, rng)
        kind = "anomalous" if label else "normal"
        bags.append(SplicedBag(f"{prefix}-{index:03d}-{kind}", label, features, truth, origins))
    return bags


def write_bags(folder: Path, train: Sequence[SplicedBag], held_out: Sequence[SplicedBag]) -> Path:
    """Write features, the held-out bags' frame labels and a manifest; return the manifest's path.

    Training bags have no frame labels, so training can't see any.
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


def _splice(
    stock: Stock,
    place: tuple[int, int],
    burst: bool,
    features: npt.NDArray[np.float32],
    origins: list[tuple[Origin, ...]],
    truth: npt.NDArray[np.uint8],
    rng: np.random.Generator,
) -> None:
    """Put foreign footage at a place, of which half of every cross-fade is still background."""
    start, stop = place
    features[start:stop], origins[start:stop] = _play(stock.foreign, stop - start, rng)
    truth[start:stop] = 1
    room = not burst and stop - start >= 2 * FADE_SNIPPETS
    # Both are drawn in any case, so that the next bag's random numbers don't depend on this one.
    fades = rng.random(2) < FADED
    for chosen, reel, first in (
        (fades[0], stock.entering, start),
        (fades[1], stock.leaving, stop - FADE_SNIPPETS),
    ):
        if chosen and room and len(reel.features):
            index = int(rng.integers(len(reel.features)))
            there = slice(first, first + FADE_SNIPPETS)
            features[there] = reel.features[index]
            origins[there] = [reel.origins[index]] * FADE_SNIPPETS
            truth[there] = fade_truth(enters=reel is stock.entering)


def _play(
    reel: Reel, snippets: int, rng: np.random.Generator, fades: FadeReel | None = None
) -> Rows:
    """Show takes one after the other, 2 or more consecutive snippets of each.

    Some have a disturbed snippet, and with ``fades`` some blocks are cross-fades.
    """
    length = reel.features.shape[1]
    rows: list[npt.NDArray[np.float32]] = []
    origins: list[tuple[Origin, ...]] = []
    while len(origins) < snippets:
        if fades is not None and len(fades.features) and rng.random() < FADE_RATE:
            index = int(rng.integers(len(fades.features)))
            rows.append(fades.features[index])
            origins += [fades.origins[index]] * FADE_SNIPPETS
            continue
        take = int(rng.integers(len(reel.features)))
        shown = int(rng.integers(min(2, length), length + 1))
        start = int(rng.integers(0, length - shown + 1))
        block = reel.features[take]
        if len(reel.disturbed) and rng.random() < DISTURBANCE_RATE:
            index = int(rng.integers(len(reel.disturbed)))
            take, position = reel.places[index].tolist()
            start = int(
                rng.integers(max(0, position - shown + 1), min(position, length - shown) + 1)
            )
            block = reel.features[take].copy()
            block[position] = reel.disturbed[index]
        rows.append(block[start : start + shown])
        origins += [(reel.origins[take],)] * shown
    return np.concatenate(rows)[:snippets].copy(), origins[:snippets]


def _places(snippets: int, rng: np.random.Generator) -> list[tuple[int, int, bool]]:
    """Draw [start, stop) of stretches and bursts, in mixed order, with background between any two.

    The third value says whether it is a burst. The place of a faded stretch includes the fades.
    """
    short = snippets < 64
    stretches = 1 if short else int(rng.integers(STRETCHES[0], STRETCHES[1] + 1))
    bursts = 0 if short else int(rng.integers(BURSTS[0], BURSTS[1] + 1))
    longest = max(1, min(STRETCH_SNIPPETS[1], snippets // 8))
    shortest = min(STRETCH_SNIPPETS[0], longest)
    lengths = [(int(rng.integers(shortest, longest + 1)), False) for _ in range(stretches)]
    lengths += [
        (int(rng.integers(BURST_SNIPPETS[0], BURST_SNIPPETS[1] + 1)), True) for _ in range(bursts)
    ]
    lengths = [lengths[i] for i in rng.permutation(len(lengths))]
    gap = min(GAP_SNIPPETS, snippets // 16)
    # Starts as if splices and gaps had no length, then moved to make room for them.
    spare = snippets - sum(length for length, _ in lengths) - gap * (len(lengths) - 1)
    starts = np.sort(rng.integers(0, spare + 1, size=len(lengths)))
    places, shift = [], 0
    for start, (length, burst) in zip(starts.tolist(), lengths, strict=True):
        places.append((start + shift, start + shift + length, burst))
        shift += length + gap
    return places


def _save(path: Path, array: npt.NDArray[np.generic]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)
