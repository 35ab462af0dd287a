"""Cross-validation: train on all folds but one, score the one, over all folds."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._files import atomic_write_text
from ..data import Video, split_by_fold
from ..metrics import Metrics
from .config import Config
from .evaluation import GroundTruth, compare, figures, output_folder
from .process import is_main_process
from .reporting import Reporter, Reporters
from .scoring import Scores, score_videos, write_scores
from .training import TrainResult, train

FILE = "cross-validation.json"


class _Unclosed(Reporters):
    """Passes on all but the end, so that one reporter can follow several trainings."""

    def close(self) -> None:
        """Leave the reporter open."""


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """Figures of the held-out videos.

    Attributes
    ----------
    folds : mapping of int to Metrics
        Of each fold's videos, scored by the network that never saw them.
    pooled : Metrics
        Over the frames of all folds together. Scores of different networks are compared there as
        they are.
    scores : mapping of str to ndarray (T,)
        Every video's scores.
    chosen_epochs : mapping of int to int
        The epoch whose weights were used, by fold.
    """

    folds: Mapping[int, Metrics]
    pooled: Metrics
    scores: Mapping[str, Scores]
    chosen_epochs: Mapping[int, int]

    @property
    def mean(self) -> dict[str, float]:
        """Means over the folds of the figures that are defined in every fold."""
        return {name: statistics.fmean(values) for name, values in self._by_figure().items()}

    @property
    def deviation(self) -> dict[str, float]:
        """Standard deviations over the folds (of a sample, n - 1); 0 for one fold."""
        return {
            name: statistics.stdev(values) if len(values) > 1 else 0.0
            for name, values in self._by_figure().items()
        }

    def _by_figure(self) -> dict[str, list[float]]:
        defined = [figures(metrics) for metrics in self.folds.values()]
        names = [name for name in defined[0] if all(name in fold for fold in defined)]
        return {name: [fold[name] for fold in defined] for name in names}

    def as_dict(self) -> dict[str, Any]:
        """Return nested dicts of JSON types, without the scores."""
        return {
            "pooled": self.pooled.as_dict(),
            "mean": self.mean,
            "deviation": self.deviation,
            "folds": {str(fold): metrics.as_dict() for fold, metrics in self.folds.items()},
            "chosen_epochs": {str(fold): epoch for fold, epoch in self.chosen_epochs.items()},
        }


def cross_validate(
    config: Config,
    videos: Sequence[Video],
    *,
    out_dir: str | os.PathLike[str],
    folds: Sequence[int] | None = None,
    ground_truth: GroundTruth | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
    command: Sequence[str] | None = None,
    source: Mapping[str, Any] | None = None,
) -> CrossValidation:
    """Train one network a fold and evaluate it on the videos that it never saw.

    Writes to ``out_dir``: a run in ``fold0``, ``fold1``, ... with the scores of its held-out videos
    in ``scores`` and their figures in ``metrics.json``, and ``cross-validation.json``.

    Parameters
    ----------
    config : Config
        For every fold; ``training.seed`` too.
    videos : sequence of Video
        Each with its fold; see :func:`ladnet_fast.data.stratified_folds` where they have none.
    out_dir : path-like
        Folder for everything.
    folds : sequence of int, optional
        Which folds; default: all that occur.
    ground_truth : GroundTruth, optional
        Of each held-out set. A concatenated vector can't serve, since it covers all videos at once;
        default: the videos' own ``frame_labels``.
    resume : bool
        Go on with folds that are unfinished.
    reporter, command, source
        As in :func:`train`.

    Raises
    ------
    ValueError
        If a video has no fold, or a fold is named that does not occur.
    """
    chosen = sorted(
        set(folds) if folds is not None else {v.fold for v in videos if v.fold is not None}
    )
    if not chosen:
        raise ValueError("no video has a fold: fill the manifest's column fold, or make folds")
    truth = ground_truth or GroundTruth()
    reporter = reporter or Reporter()
    out_dir = Path(out_dir)
    splits = {fold: split_by_fold(videos, fold) for fold in chosen}  # errors before any training
    scores: dict[str, Scores] = {}
    by_fold: dict[int, Metrics] = {}
    epochs: dict[int, int] = {}
    try:
        for fold, (training, held_out) in splits.items():
            reporter.message(f"fold {fold}: {len(training)} videos train, {len(held_out)} held out")
            result = train(
                config,
                training,
                run_dir=out_dir / f"fold{fold}",
                test_videos=held_out,
                test_ground_truth=truth,
                resume=resume,
                reporter=_Unclosed(reporter),
                command=command,
                source={**(source or {}), "fold": fold},
            )
            fold_scores, by_fold[fold] = evaluate_run(result, held_out, truth)
            scores.update(fold_scores)
            epochs[fold] = result.epoch
    finally:
        reporter.close()
    everything = [video for _, held_out in splits.values() for video in held_out]
    lengths = [len(scores[video.name]) for video in everything]
    pooled = compare(everything, scores, truth.load(everything, lengths))
    outcome = CrossValidation(by_fold, pooled, scores, epochs)
    if is_main_process():
        atomic_write_text(out_dir / FILE, json.dumps(outcome.as_dict(), indent=2) + "\n")
    return outcome


def evaluate_run(
    result: TrainResult, videos: Sequence[Video], ground_truth: GroundTruth
) -> tuple[dict[str, Scores], Metrics]:
    """Score and evaluate test videos; write ``scores/`` and ``metrics.json`` beside the model."""
    scores = score_videos(result.model, videos)
    truth = ground_truth.load(videos, [len(scores[video.name]) for video in videos])
    metrics = compare(videos, scores, truth)
    if is_main_process():
        write_scores(output_folder(result.run_dir / "scores"), videos, scores)
        write_metrics(result.run_dir / "metrics.json", metrics, epoch=result.epoch)
    return scores, metrics


def write_metrics(path: Path, metrics: Metrics, **more: Any) -> None:
    """Write figures as JSON, atomically; undefined ones are null, with the reason."""
    atomic_write_text(path, json.dumps({**more, **metrics.as_dict()}, indent=2) + "\n")
