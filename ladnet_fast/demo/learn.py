"""Train one configuration on the bags, and score the held-out ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data import read_manifest, select_split
from ..engine import Config, Reporter, evaluate_scores, score_videos, train, write_scores
from ..engine.run import CHECKPOINT
from ..engine.scoring import Scores
from ..metrics import Metrics
from .options import DemoOptions
from .reels import HELD_OUT, TRAIN
from .variants import Variant


@dataclass(frozen=True, slots=True)
class Trial:
    """One training and what it gave on the held-out bags; ``scores`` by bag."""

    seed: int
    variant: str
    scores: Mapping[str, Scores]
    metrics: Metrics
    seconds: float

    @property
    def name(self) -> str:
        """Name of its folders, for example ``ddl-seed0``."""
        return trial_name(self.seed, self.variant)


def trial_name(seed: int, variant: str) -> str:
    """Return the name of a training's folders."""
    return f"{variant}-seed{seed}"


def demo_config(options: DemoOptions, variant: Variant, seed: int) -> Config:
    """Return the training's configuration: the package's defaults, except for these options."""
    return variant.config.replace(
        training={
            "epochs": options.epochs,
            "t_max": max(60, options.epochs),
            "batch_size": options.batch_size,
            "lr": options.lr,
            "seed": seed,
            "balanced": True,  # with so few bags a batch could lack a class
            "preload": True,
            "validation": 0.0,  # the last epoch is taken: nothing is chosen
            "checkpoint_every": options.epochs,
        },
    )


def run_trial(
    manifest: Path,
    out: Path,
    options: DemoOptions,
    variant: Variant,
    *,
    seed: int,
    reporter: Reporter | None = None,
    command: Sequence[str] | None = None,
) -> Trial:
    """Train once, score the held-out bags, write the run and the scores under ``out``.

    The bags are read from the manifest, as any user's would be.
    """
    videos = read_manifest(manifest)
    name = trial_name(seed, variant.key)
    result = train(
        demo_config(options, variant, seed),
        select_split(videos, TRAIN),
        run_dir=out / "runs" / name,
        reporter=reporter,
        command=command,
    )
    (result.run_dir / CHECKPOINT).unlink()  # three times as large as the model, and never resumed
    held_out = select_split(videos, HELD_OUT)
    scores = score_videos(result.model, held_out)
    write_scores(out / "scores" / name, held_out, scores)
    return Trial(seed, variant.key, scores, evaluate_scores(held_out, scores), result.seconds)
