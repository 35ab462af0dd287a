"""Cross-validation: for each fold, train on all others and score the videos of that fold."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._locks import folder_lock
from .._outputs import check_outputs
from .._records import record_text
from ..data import Video, split_by_fold
from ..data.video import files_of
from ..metrics import Metrics
from .config import Config
from .evaluation import GroundTruth, figures
from .process import in_main_process, make_accelerator
from .reporting import Reporter, Reporters
from .run_folder import RunFolder
from .scoring import Scores
from .tested import check_tested, evaluate_run, loaded_truth, measure
from .tested import write_metrics as write_metrics
from .training import train

FILE = "cross-validation.json"
KIND = "the figures of a cross-validation"


class _Unclosed(Reporters):
    """Passes on everything but the end, so that one reporter can follow several trainings."""

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
        they are. Without frame-level truth these and the folds' are figures of videos alone.
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
    inputs: Iterable[str | os.PathLike[str]] = (),
) -> CrossValidation:
    """Train one network per fold and evaluate it on the videos that it never saw.

    Writes to ``out_dir``: a run in ``fold0``, ``fold1``, ... with the scores of its held-out videos
    in ``scores`` and their figures in ``metrics.json``, and ``cross-validation.json``. Folders,
    ground truth and folds are checked before the first training.

    Parameters
    ----------
    config : Config
        For every fold; ``training.seed`` too.
    videos : sequence of Video
        Each with its fold; see `ladnet_fast.data.stratified_folds` where they have none.
    out_dir : path-like
        Folder for everything.
    folds : sequence of int, optional
        Which folds; default: all that occur.
    ground_truth : GroundTruth, optional
        Of each held-out set. Not a concatenated vector, since that covers all videos at once;
        default: the videos' own ``frame_labels``. Where no anomalous video has any, figures of
        videos are reported, which need bag labels only.
    resume : bool
        Go on with folds that are unfinished.
    reporter, command, source, inputs
        As in `train`.

    Raises
    ------
    ValueError
        If a video has no fold, a fold is named that does not occur, or twice, or none is named.
    """
    chosen = _chosen(videos, folds)
    truth = ground_truth or GroundTruth()
    reporter = reporter or Reporter()
    accelerator = make_accelerator(config.training)
    out_dir = Path(in_main_process(accelerator, lambda: os.fspath(out_dir)))
    # Errors before any training.
    splits = {fold: split_by_fold(videos, fold) for fold in chosen}
    folders = {fold: RunFolder(out_dir / f"fold{fold}") for fold in chosen}
    read = [*inputs, *files_of(videos)]
    for fold, (training, held_out) in splits.items():
        check_tested(training, held_out, truth, what=f"fold {fold}")
    everything = [video for _, held_out in splits.values() for video in held_out]
    pooled_truth = loaded_truth(everything, truth)

    def check() -> None:
        if out_dir.exists() and not out_dir.is_dir():
            raise ValueError(f"{out_dir} is a file; name a folder for the results")
        check_outputs([out_dir / FILE], read, kinds=[KIND])
        for fold, folder in folders.items():
            folder.check(read, config, resume=resume, tested=splits[fold][1])

    held = contextlib.ExitStack()

    def take() -> None:
        check()
        held.enter_context(folder_lock(out_dir, "cross-validating"))
        check()

    scores: dict[str, Scores] = {}
    by_fold: dict[int, Metrics] = {}
    epochs: dict[int, int] = {}
    try:
        in_main_process(accelerator, take)
        for fold, (training, held_out) in splits.items():
            reporter.message(f"fold {fold}: {len(training)} videos train, {len(held_out)} held out")
            result = train(
                config,
                training,
                run_dir=folders[fold].path,
                test_videos=held_out,
                test_ground_truth=truth,
                resume=resume,
                reporter=_Unclosed(reporter),
                command=command,
                source={**(source or {}), "fold": fold},
                inputs=read,
            )
            fold_scores, by_fold[fold] = evaluate_run(result, held_out, truth)
            scores.update(fold_scores)
            epochs[fold] = result.epoch
        pooled = measure(everything, scores, pooled_truth)
        outcome = CrossValidation(by_fold, pooled, scores, epochs)
        if accelerator.is_main_process:
            text = json.dumps(outcome.as_dict(), indent=2, allow_nan=False) + "\n"
            record_text(out_dir / FILE, text, {"kind": KIND})
    finally:
        held.close()
        reporter.close()
    return outcome


def _chosen(videos: Sequence[Video], folds: Sequence[int] | None) -> list[int]:
    if folds is None:
        chosen = sorted({video.fold for video in videos if video.fold is not None})
        if not chosen:
            raise ValueError("no video has a fold: fill the manifest's column fold, or make folds")
        return chosen
    twice = sorted({fold for fold in folds if list(folds).count(fold) > 1})
    if twice:
        raise ValueError(f"folds must differ from one another; got {twice[0]} twice")
    if not folds:
        raise ValueError("folds is empty; name at least one, or leave it out for all")
    return sorted(folds)
