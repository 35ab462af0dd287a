"""From the runs of one data set to the rows of a table."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import shown, statistics, study
from .datasets import Truth
from .figures import CRITERIA, FIGURES, best_epoch
from .grid import Grid
from .study import Job

#: Which of a run's models: after the last epoch; that of the epoch which the bag-label criterion
#: chose; the mean of the figure over all epochs.
WHICH = ("last", "chosen", "curve")
COLUMNS = (
    "dataset", "configuration", "figure", "which", "seeds", "mean", "sd", "low", "high",
    "difference", "difference_low", "difference_high", "p",
)  # fmt: skip
Row = dict[str, Any]


def summarise(
    jobs: Sequence[Job],
    folder: Path,
    grid: Grid,
    *,
    criterion: str = "video_auc",
    resamples: int = statistics.RESAMPLES,
    show: Sequence[str] = (),
    progress: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Return the summary of one data set's runs, JSON types.

    ``show`` names the configurations whose most helped and most hurt video is kept with its curves.

    Raises
    ------
    ValueError
        If a run is missing.
    """
    by_name: dict[str, list[Job]] = {}
    for job in jobs:
        by_name.setdefault(job.name, []).append(job)
    truth = study.truth_of(jobs[0])
    drawn = statistics.draws(truth, len(by_name[grid.baseline]), resamples)
    names = [grid.baseline, *(name for name in by_name if name != grid.baseline)]
    rows: list[Row] = []
    runs: dict[str, list[dict[str, Any]]] = {}
    base: dict[tuple[str, str], tuple[list[float], np.ndarray | None]] = {}
    for name in names:
        progress(f"{jobs[0].dataset}: intervals of {name}")
        found = _figures(by_name[name], folder, truth, drawn, criterion)
        runs[name] = found.pop("runs")
        if name == grid.baseline:
            base = found
        for (figure, which), (values, boot) in found.items():
            row = _row(values, boot, base.get((figure, which)), drawn, name == grid.baseline)
            rows.append(
                {
                    "dataset": jobs[0].dataset,
                    "configuration": name,
                    "figure": figure,
                    "which": which,
                    **row,
                }
            )
    return {
        "schema": study.SCHEMA,
        "dataset": jobs[0].dataset,
        "digest": jobs[0].digest,
        "baseline": grid.baseline,
        "criterion": criterion,
        "resamples": resamples,
        "seeds": len(by_name[grid.baseline]),
        "videos": len(truth.labels),
        "anomalous_videos": int(truth.labels.sum()),
        "frames": int((truth.anomalous + truth.normal).sum()),
        "anomalous_frames": int(truth.anomalous.sum()),
        "setups": {name: by_name[name][0].setup.as_dict() for name in names},
        "seconds_per_epoch": {name: _seconds(runs[name]) for name in names},
        "held_out": {name: _held_out(runs[name]) for name in names},
        "by_bag_labels": {name: _by_bag_labels(runs[name], runs[grid.baseline]) for name in names},
        "curves": {name: _curves(runs[name]) for name in names},
        "shown": {
            name: shown.extremes(
                study.names_of(jobs[0]),
                truth,
                _last_scores(by_name[grid.baseline], folder),
                _last_scores(by_name[name], folder),
            )
            for name in show
        },
        "criteria": _criteria([run for n in names for run in runs[n] if _is_lanet(run)]),
        "rows": rows,
    }


def _figures(
    jobs: Sequence[Job], folder: Path, truth: Truth, drawn: statistics.Draws, criterion: str
) -> dict[Any, Any]:
    runs, boots = [], {"last": [], "chosen": []}  # type: ignore[var-annotated]
    for job in jobs:
        read = study.read_run(job, folder)
        if read is None:
            raise ValueError(
                f"{job.path(folder)} is missing: the run of {job.name} with seed {job.seed} is not "
                "done; start the same command again"
            )
        run, scores = read
        run["chosen"] = best_epoch(run["criteria"], criterion) if run["criteria"] else None
        runs.append(run)
        for which, index in (("last", -1), ("chosen", run["chosen"])):
            if index is not None:
                boots[which].append(statistics.resampled(scores[index], truth, drawn))
    found: dict[Any, Any] = {"runs": runs}
    for figure in FIGURES:
        for which in WHICH:
            if which == "chosen" and any(run["chosen"] is None for run in runs):
                continue
            values = [_value(run, figure, which) for run in runs]
            boot = None
            if which != "curve" and figure in statistics.AREAS:
                boot = np.stack([entry[figure] for entry in boots[which]])
            found[figure, which] = (values, boot)
    return found


def _last_scores(jobs: Sequence[Job], folder: Path) -> list[np.ndarray]:
    runs = [study.read_run(job, folder) for job in jobs]
    return [run[1][-1] for run in runs if run is not None]


def _value(run: dict[str, Any], figure: str, which: str) -> float:
    if which == "curve":
        return float(np.mean([epoch[figure] for epoch in run["epochs"]]))
    return float(run["epochs"][-1 if which == "last" else run["chosen"]][figure])


def _row(
    values: list[float],
    boot: np.ndarray | None,
    base: tuple[list[float], np.ndarray | None] | None,
    drawn: statistics.Draws,
    is_base: bool,
) -> Row:
    row: Row = {
        "seeds": len(values),
        "mean": float(np.mean(values)),
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "by_seed": [round(value, 6) for value in values],
    }
    if boot is not None:
        row["low"], row["high"] = statistics.interval(boot, drawn)
    if base is not None and not is_base:
        differences = [a - b for a, b in zip(values, base[0], strict=True)]
        row["difference"] = float(np.mean(differences))
        row["p"] = statistics.sign_flip(differences)
        if boot is not None and base[1] is not None:
            low, high = statistics.interval(boot - base[1], drawn)
            row["difference_low"], row["difference_high"] = low, high
    return {key: _json(value) for key, value in row.items()}


def _json(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 6)
    return value


def _is_lanet(run: dict[str, Any]) -> bool:
    return bool(run["setup"]["trial"]["method"] == "lanet" and run["criteria"])


def _seconds(runs: list[dict[str, Any]]) -> dict[str, float]:
    return {
        what: round(float(np.median([s for run in runs for s in run[f"{what}_seconds"]])), 4)
        for what in ("train", "score")
    }


def _held_out(runs: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Return the held-out bags' figures: the mean over seeds, by epoch."""
    if not all(run["criteria"] for run in runs):
        return {}
    return {
        criterion.name: [
            round(float(np.mean([run["criteria"][e][criterion.name] for run in runs])), 6)
            for e in range(len(runs[0]["criteria"]))
        ]
        for criterion in CRITERIA
    }


def _by_bag_labels(
    runs: list[dict[str, Any]], base: list[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Compare the held-out bags' figures after the last epoch with the baseline's, seed by seed.

    Every seed holds out other bags: over the seeds this is a cross-validation on training bags.
    """
    if not all(run["criteria"] for run in (*runs, *base)):
        return {}
    found = {}
    for criterion in CRITERIA:
        values, others = (
            [run["criteria"][-1][criterion.name] for run in side] for side in (runs, base)
        )
        differences = [a - b for a, b in zip(values, others, strict=True)]
        row = {"mean": float(np.mean(values)), "difference": float(np.mean(differences))}
        row["p"] = statistics.sign_flip(differences)
        found[criterion.name] = {key: _json(value) for key, value in row.items()}
    return found


def _curves(runs: list[dict[str, Any]]) -> dict[str, list[float]]:
    return {
        figure: [
            round(float(np.mean([run["epochs"][e][figure] for run in runs])), 6)
            for e in range(len(runs[0]["epochs"]))
        ]
        for figure in ("auc", "anomalous_auc")
    }


def _criteria(runs: list[dict[str, Any]]) -> list[Row]:
    """Say how well each bag-label criterion foretells the test figures, over epochs and runs."""
    rows: list[Row] = []
    if not runs:
        return rows
    for criterion in CRITERIA:
        sign = 1 if criterion.larger else -1
        row: Row = {"criterion": criterion.name, "runs": len(runs)}
        for figure in ("auc", "anomalous_auc"):
            pairs = [
                [
                    (sign * c[criterion.name], e[figure])
                    for c, e in zip(run["criteria"], run["epochs"], strict=True)
                ]
                for run in runs
            ]
            pooled = [pair for run_pairs in pairs for pair in run_pairs]
            row[f"{figure}_pooled"] = statistics.spearman(*zip(*pooled, strict=True))
            within = [statistics.spearman(*zip(*p, strict=True)) for p in pairs if len(p) > 1]
            within = [value for value in within if not math.isnan(value)]
            row[f"{figure}_within"] = float(np.mean(within)) if within else float("nan")
            chosen = [
                run["epochs"][best_epoch(run["criteria"], criterion.name)][figure] for run in runs
            ]
            row[f"{figure}_chosen"] = float(np.mean(chosen))
            row[f"{figure}_last"] = float(np.mean([run["epochs"][-1][figure] for run in runs]))
        rows.append({key: _json(value) for key, value in row.items()})
    return rows


def table(rows: Sequence[Row]) -> str:
    """Return rows as CSV."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
