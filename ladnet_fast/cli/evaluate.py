"""``ladnet-fast evaluate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from ..engine import evaluate_scores, read_scores, run_info
from ..engine.folds import write_metrics
from ..metrics.frames import Smoothing
from . import _options as opt
from ._console import class_table, console, help_text, metrics_table

_EXAMPLE = r"""
[bold]Examples[/]

ladnet-fast evaluate scores test.csv

ladnet-fast evaluate scores test.list --layout ucf-i3d --gt gt-ucf.npy --length-rule snippets

ladnet-fast evaluate scores test.csv --gt annotations.txt --boundaries '\[s,e]'
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate", help=help_text(command), epilog=_EXAMPLE)(command)


def command(
    scores: Annotated[Path, typer.Argument(help="Folder with NAME.npy, a score per snippet.")],
    videos: Annotated[Path, typer.Argument(help="Manifest (.csv), or a list with --layout.")],
    out: Annotated[
        Path | None,
        typer.Option(help="File for the figures.", show_default="SCORES/metrics.json"),
    ] = None,
    threshold: Annotated[
        float, typer.Option(help="Score from which a frame of a normal video is a false alarm.")
    ] = 0.5,
    smooth: Annotated[
        str | None,
        typer.Option(
            metavar="KIND:K",
            help="Smooth the scores first: fixed:K (blocks) or slide:K (windows).",
        ),
    ] = None,
    split: opt.Split = None,
    gt: opt.Truth = None,
    boundaries: opt.BoundaryOption = None,
    length_rule: opt.LengthRuleOption = "auto",
    layout: opt.Layout = None,
    root: opt.Root = None,
    remap: opt.Remap = None,
    anomalous_names: opt.AnomalousNames = None,
    queries: opt.Queries = None,
    frames_per_snippet: opt.FramesPerSnippet = None,
) -> None:
    """Compare scores with frame-level ground truth: AUC, AP, false alarms, figures by class.

    Scores may come from any program, as one .npy of shape (T,) for each video.
    """
    truth = opt.ground_truth(gt, boundaries, length_rule)
    smoothing = _smoothing(smooth)
    lists = opt.ListOptions(layout, root, remap, anomalous_names, queries, frames_per_snippet)
    chosen = lists.read(videos, split=split, check_files=False)
    metrics = evaluate_scores(
        chosen,
        read_scores(scores, chosen),
        ground_truth=truth,
        smoothing=smoothing,
        threshold=threshold,
    )
    target = out or scores / "metrics.json"
    options = {
        "scores": str(scores.resolve()),
        "videos": str(videos.resolve()),
        "split": split,
        "ground_truth": None if gt is None else str(gt.resolve()),
        "boundaries": boundaries,
        "length_rule": length_rule,
        "smooth": smooth,
    }
    run = run_info(command=sys.argv, extra={"options": options})
    write_metrics(target, metrics, run=run)
    console.print(metrics_table(metrics))
    if metrics.per_class:
        console.print(class_table(metrics))
    console.print(f"written to {target}", highlight=False, markup=False, soft_wrap=True)


def _smoothing(text: str | None) -> tuple[Smoothing, int] | None:
    if text is None:
        return None
    kind, _, k = text.partition(":")
    if kind not in get_args(Smoothing) or not k.isdecimal() or int(k) < 1:
        raise typer.BadParameter(f"--smooth must be fixed:K or slide:K, K >= 1; got {text!r}")
    return cast("Smoothing", kind), int(k)
