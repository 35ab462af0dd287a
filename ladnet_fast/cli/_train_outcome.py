"""What ``train`` shows: warnings while it runs, the chosen epoch and the test figures after it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from ._console import console, metrics_table, number, say

if TYPE_CHECKING:
    from ..data import Video
    from ..engine import CrossValidation, GroundTruth, TrainResult


@contextmanager
def reported() -> Iterator[None]:
    """Show warnings as lines of the console; say in one sentence where memory ran out."""
    from .._out_of_memory import memory_errors
    from ..engine.process import OtherProcessError

    advice = (
        "make the batches smaller (--batch-size), cut them into parts (--set training.accumulate=2)"
        ", or shorten the bags (--set training.snippets=100)"
    )
    try:
        with _warnings_printed(), memory_errors(advice):
            yield
    except OtherProcessError as error:
        raise typer.Exit(1) from error  # the main process has said why


@contextmanager
def _warnings_printed() -> Iterator[None]:
    """Show warnings as lines of the console."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        say(str(message), mark="warning:", style="bold yellow")

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = show
        yield


def show_result(result: TrainResult, test_videos: list[Video] | None, truth: GroundTruth) -> None:
    """Show which epoch was chosen, and the figures of the test videos where there are any."""
    chosen = {
        "validation": f"best on held-out videos, {result.metric} {number(result.value or 0)}",
        "test": f"best on the test videos, {result.metric} {number(result.value or 0)}",
        "last": "the last one",
    }[result.selected_by]
    console.print(
        f"epoch {result.epoch} ({chosen}) is in {result.run_dir}; {result.seconds:.1f} s",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if test_videos is not None:
        from ..engine.tested import evaluate_run

        _, metrics = evaluate_run(result, test_videos, truth)
        console.print(metrics_table(metrics, "test videos"))


def show_folds(outcome: CrossValidation) -> None:
    """Show the figures of every fold's held-out videos, their mean, and the pooled ones."""
    table = Table(title="held-out videos", title_justify="left")
    for heading in ("fold", "videos", "epoch", "AUC", "AP", "AUC of videos"):
        table.add_column(heading, justify="right")
    for fold, metrics in outcome.folds.items():
        table.add_row(
            str(fold),
            str(metrics.num_videos),
            str(outcome.chosen_epochs[fold]),
            number(metrics.auc),
            number(metrics.ap),
            number(metrics.video_auc),
        )
    table.add_section()
    mean, deviation = outcome.mean, outcome.deviation
    cells = [
        f"{mean[name]:.4f} ± {deviation[name]:.4f}" if name in mean else "-"
        for name in ("auc", "ap", "video_auc")
    ]
    table.add_row("mean ± sd", "", "", *cells)
    pooled = outcome.pooled
    cells = [number(value) for value in (pooled.auc, pooled.ap, pooled.video_auc)]
    table.add_row("pooled", str(pooled.num_videos), "", *cells)
    console.print(table)
