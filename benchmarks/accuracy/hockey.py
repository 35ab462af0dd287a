"""Bags of ice hockey: fights among play, spliced from the clips of a public repository.

The clips are those of E. Bermejo Nievas et al., "Violence Detection in Video Using Computer Vision
Techniques", CAIP 2011: 1,000 clips of about 41 frames, half of them fights. They are read from a
checkout of https://github.com/tim200002/adl-video-violence-detection; nothing of them is kept here.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ladnet_fast._extras import import_extra
from ladnet_fast._files import atomic_path, atomic_write_text

CLIPS = Path("data") / "HockeyFights"
SPLITS = ("train", "valid", "test")
#: Copies of other clips (train/no_fight).
DUPLICATES = ("no212", "no193", "no238")
#: Clips of play in an anomalous bag, and its fights: as many, or as many more clips of play, has
#: a normal bag, so that neither length nor cuts tell the label.
PLAY, FIGHTS = 5, (1, 2, 3)
#: Bags of each label and split at most, so that I3D has about 19,000 frames to look at.
BAGS = 16
RATE = 25
SIZE = (360, 288)


@dataclass(frozen=True, slots=True)
class Bag:
    """Clips in the order in which a bag shows them."""

    name: str
    split: str
    clips: tuple[Path, ...]
    fights: tuple[bool, ...]

    @property
    def label(self) -> int:
        """Return 1 if the bag shows a fight, else 0."""
        return int(any(self.fights))


def plan(checkout: Path, seed: int = 0) -> list[Bag]:
    """Deal the clips of each split out to bags of that split.

    No clip is in two normal bags, and none in two anomalous ones; a clip of play may be in one of
    each, beside other clips.

    Raises
    ------
    FileNotFoundError
        If the checkout has no clips.
    """
    rng = np.random.default_rng(seed)
    bags: list[Bag] = []
    for split in SPLITS:
        play, fights = (_clips(checkout, split, kind, rng) for kind in ("no_fight", "fight"))
        number = 0
        while play:
            count = min(PLAY + int(rng.choice(FIGHTS)), len(play))
            shown, play = play[:count], play[count:]
            bags.append(Bag(f"{split}-play{number:03d}", split, tuple(shown), (False,) * count))
            number += 1
        play, number = _clips(checkout, split, "no_fight", rng), 0
        while play and fights:
            count = int(rng.choice(FIGHTS))
            shown, play = play[:PLAY], play[PLAY:]
            extra, fights = fights[:count], fights[count:]
            both = [(clip, False) for clip in shown] + [(clip, True) for clip in extra]
            both = [both[i] for i in rng.permutation(len(both))]
            clips, truth = zip(*both, strict=True)
            bags.append(Bag(f"{split}-fight{number:03d}", split, clips, truth))
            number += 1
    return [bag for bag in bags if int(bag.name[-3:]) < BAGS]


def _clips(checkout: Path, split: str, kind: str, rng: np.random.Generator) -> list[Path]:
    folder = checkout / CLIPS / split / kind
    found = [
        path
        for path in sorted(folder.glob("*.avi"))
        if (split, kind) != ("train", "no_fight") or path.stem not in DUPLICATES
    ]
    if not found:
        raise FileNotFoundError(
            f"{folder} holds no .avi file; give a checkout of the repository: git clone "
            "https://github.com/tim200002/adl-video-violence-detection"
        )
    return [found[i] for i in rng.permutation(len(found))]


def write_bag(bag: Bag, out: Path) -> NDArray[np.uint8]:
    """Write a bag's video, without loss, and its frame truth; return the truth.

    The video is H.264 with quantiser 0: its frames are those of the clips, bit for bit.
    """
    av = import_extra("av", extra="video", purpose="splice the clips")
    truth: list[int] = []
    with (
        atomic_path(out / "bags" / f"{bag.name}.mkv") as temporary,
        av.open(str(temporary), "w", format="matroska") as container,
    ):
        stream = container.add_stream("libx264", rate=RATE)
        stream.options = {"qp": "0", "preset": "ultrafast"}
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for clip, fight in zip(bag.clips, bag.fights, strict=True):
            for frame in _frames(av, clip):
                if (frame.width, frame.height, frame.format.name) != (*SIZE, "yuv420p"):
                    raise ValueError(
                        f"{clip} has frames of {frame.width}x{frame.height}, {frame.format.name}; "
                        f"the clips of this set have {SIZE[0]}x{SIZE[1]}, yuv420p"
                    )
                frame.pts, frame.time_base = len(truth), Fraction(1, RATE)
                frame.pict_type = 0
                truth.append(int(fight))
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
    labels = np.array(truth, dtype=np.uint8)
    with atomic_path(out / "gt" / f"{bag.name}.npy") as temporary, temporary.open("wb") as file:
        np.save(file, labels)
    return labels


def _frames(av: Any, clip: Path) -> list[Any]:
    with av.open(str(clip)) as container:
        return list(container.decode(video=0))


def manifest(bags: Sequence[Bag], frames: Sequence[int], tested: str) -> str:
    """Return a manifest that trains on the bags of "train" and tests with those of ``tested``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["video", "features", "label", "num_frames", "frame_labels", "split"])
    for bag, count in zip(bags, frames, strict=True):
        if bag.split in ("train", tested):
            split = "train" if bag.split == "train" else "test"
            row = [bag.name, f"features/{bag.name}.npy", bag.label, count]
            writer.writerow([*row, f"gt/{bag.name}.npy", split])
    return text.getvalue()


def make(checkout: Path, out: Path, seed: int = 0) -> list[Bag]:
    """Write all bags, their truth, and the manifests videos.csv and validation.csv."""
    bags = plan(checkout, seed)
    frames = [len(write_bag(bag, out)) for bag in bags]
    atomic_write_text(out / "videos.csv", manifest(bags, frames, "test"))
    atomic_write_text(out / "validation.csv", manifest(bags, frames, "valid"))
    return bags
