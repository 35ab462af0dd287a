"""What an engine's precision costs in accuracy, on the demo: ``python -m benchmarks.precision``.

The demo's footage is described by every engine and precision, and cut into the same bags. Reports
how far the features are from those of PyTorch in fp32, what that does to the scores of models that
were trained on fp32 features, and the frame AUC of training and scoring on either.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ladnet_fast._files import cache_folder
from ladnet_fast.data import Video, read_manifest, select_split
from ladnet_fast.demo import footage
from ladnet_fast.demo.bags import write_bags
from ladnet_fast.demo.extraction import all_features
from ladnet_fast.demo.features import I3DExtractor
from ladnet_fast.demo.learn import run_trial
from ladnet_fast.demo.options import DemoOptions
from ladnet_fast.demo.reels import HELD_OUT, TRAIN
from ladnet_fast.demo.run import cut_bags
from ladnet_fast.demo.variants import PRIOR, variants
from ladnet_fast.engine import evaluate_scores, load_model, score_videos
from ladnet_fast.engine.scoring import Scores
from ladnet_fast.video.extractors import make_extractor

from .extraction import CHOICES, processor

FIRST = "torch:fp32"


class DemoExtractor:
    """An extractor as the demo calls it: frames (16 n, 224, 224, 3) to rows (n, D)."""

    def __init__(self, choice: str, folder: Path, videos: list[Path]) -> None:
        engine, precision = choice.split(":")
        self._own: Any = make_extractor("i3d", device="cpu", engine=engine, precision=precision)
        if hasattr(self._own, "place"):
            self._own.place(folder, videos)
        self.identity = f"{choice}, for this run"

    def __call__(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Describe snippets two at a time, as extraction does on CPUs."""
        self._own.load()
        size = self._own.frames_per_snippet
        clips = frames.reshape(-1, size, *frames.shape[1:])
        return np.concatenate([self._own(clips[i : i + 2]) for i in range(0, len(clips), 2)])


def write_demo_bags(choice: str, folder: Path, options: DemoOptions) -> Path:
    """Describe the demo's footage and cut the bags; return their manifest."""
    paths = footage.fetch_shipped()
    clips = footage.assign_roles(paths)
    if choice == FIRST:  # the demo's own, which its cache may hold
        extractor: Any = I3DExtractor()
        cache = cache_folder(None) / "demo-features"
    else:
        extractor, cache = DemoExtractor(choice, folder / "features", paths), folder / "cache"
    takes, fades = all_features(
        clips, side=footage.common_side(clips), options=options, extractor=extractor, cache=cache,
        progress=lambda name, done, total: None,
    )  # fmt: skip
    bags = cut_bags(takes, fades, options)
    return write_bags(folder / "bags", bags[TRAIN], bags[HELD_OUT])


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    others = [choice for choice in CHOICES if choice != FIRST]
    parser.add_argument("choices", nargs="*", default=others, help="ENGINE:PRECISION")
    parser.add_argument("--seeds", type=int, default=3, help="trainings with either")
    arguments = parser.parse_args()
    options = DemoOptions(repeats=arguments.seeds)
    (variant,) = (entry for entry in variants()[0] if entry.key == PRIOR)
    print(f"{processor()}; the demo's held-out bags, {variant.label}, {arguments.seeds} seeds")
    print(
        "| | feature error, median | at most | score change, mean | at most "
        "| AUC, trained on fp32 | AUC, trained on the same |\n|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as name:
        kept: dict[str, tuple[list[Video], Sequence[Mapping[str, Scores]]]] = {}
        for choice in (FIRST, *arguments.choices):
            folder = Path(name) / choice.replace(":", "-")
            manifest = write_demo_bags(choice, folder, options)
            held_out = select_split(read_manifest(manifest), HELD_OUT)
            own = [
                run_trial(manifest, folder, options, variant, seed=seed).metrics.auc
                for seed in range(arguments.seeds)
            ]
            runs = sorted((Path(name) / FIRST.replace(":", "-") / "runs").iterdir())
            scores = [score_videos(load_model(run), held_out) for run in runs]
            moved = [evaluate_scores(held_out, found).auc for found in scores]
            kept[choice] = held_out, scores
            errors, changes = _compare(*kept[FIRST], *kept[choice])
            print(
                f"| {choice} | {np.median(errors):.1e} | {errors.max():.1e} | {changes.mean():.1e}"
                f" | {changes.max():.1e} | {_listed(moved)} | {_listed(own)} |",
                flush=True,
            )


def _listed(figures: Sequence[float | None]) -> str:
    found = [figure for figure in figures if figure is not None]
    return f"{np.mean(found):.4f} ({', '.join(f'{figure:.4f}' for figure in found)})"


def _compare(
    videos: list[Video],
    scores: Sequence[Mapping[str, Scores]],
    others: list[Video],
    moved: Sequence[Mapping[str, Scores]],
) -> tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.floating[Any]]]:
    """Return the relative error of each snippet's features, and how far every score has moved."""
    errors = []
    for one, other in zip(videos, others, strict=True):
        a, b = np.load(one.features[0].path), np.load(other.features[0].path)
        errors.append(np.linalg.norm(b - a, axis=1) / np.linalg.norm(a, axis=1))
    changes = [
        np.abs(np.asarray(a[video.name]) - np.asarray(b[video.name])).ravel()
        for a, b in zip(scores, moved, strict=True)
        for video in videos
    ]
    return np.concatenate(errors), np.concatenate(changes)


if __name__ == "__main__":
    main()
