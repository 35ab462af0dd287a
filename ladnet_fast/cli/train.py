"""``ladnet-fast train``."""

from __future__ import annotations

import dataclasses
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from . import _options as opt
from ._console import console, help_text, metrics_table, number, say

if TYPE_CHECKING:
    from ..data import LeftOut, Video
    from ..data.lists import Labels
    from ..engine import Config, CrossValidation, GroundTruth, Reporter, TrainResult

_OFTEN = "Often changed (each is short for one --set)"
_EXAMPLE = """
[bold]Examples[/]

ladnet-fast train train.csv --out runs/first --epochs 20

ladnet-fast train videos.csv --split train --test-split test --config config.yaml

ladnet-fast train videos.csv --folds all --validation 0 --set training.t_max=60
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train", help=help_text(command), epilog=_EXAMPLE)(command)


@opt.takes_lists()
def command(
    videos: Annotated[Path, typer.Argument(help="Manifest (.csv), or a list with --layout.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run.", show_default="runs/DATE-TIME"),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file with the sections model, loss, training.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change any option; repeatable."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    tensorboard: Annotated[bool, typer.Option(help="Write TensorBoard scalars.")] = True,
    epochs: Annotated[int | None, typer.Option(rich_help_panel=_OFTEN)] = None,
    batch_size: Annotated[int | None, typer.Option(rich_help_panel=_OFTEN)] = None,
    lr: Annotated[float | None, typer.Option(rich_help_panel=_OFTEN)] = None,
    prior: Annotated[
        str | None, typer.Option(help="additive, logit or none.", rich_help_panel=_OFTEN)
    ] = None,
    ddl: Annotated[
        bool | None,
        typer.Option(
            help="Train with dynamics ranking and alignment, or with the multiple-instance loss "
            "alone.",
            rich_help_panel=_OFTEN,
            show_default="--ddl",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(rich_help_panel=_OFTEN)] = None,
    validation: Annotated[
        float | None,
        typer.Option(
            help="Share of the training videos that is held out to choose the epoch; 0: the last "
            "epoch.",
            rich_help_panel=_OFTEN,
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda.", rich_help_panel=_OFTEN)
    ] = None,
    mixed_precision: Annotated[
        str | None, typer.Option(help="no, bf16 or fp16.", rich_help_panel=_OFTEN)
    ] = None,
    select_on_test: Annotated[
        bool,
        typer.Option(
            "--select-on-test",
            help="Choose the epoch on the test videos; their figures are then optimistic.",
            rich_help_panel=_OFTEN,
        ),
    ] = False,
    split: opt.Split = None,
    test: Annotated[
        Path | None,
        typer.Option(
            help="Manifest or list of test videos: scored and evaluated at the end.",
            rich_help_panel="Test",
        ),
    ] = None,
    test_split: Annotated[
        str | None,
        typer.Option(
            help="Split of the manifest that holds the test videos.", rich_help_panel="Test"
        ),
    ] = None,
    folds: Annotated[
        str | None,
        typer.Option(
            help="Cross-validate: 'all', or folds such as '0,2'. One training per fold.",
            rich_help_panel="Test",
        ),
    ] = None,
    make_folds: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="K",
            help="Make K stratified folds where the manifest has no column fold.",
            rich_help_panel="Test",
        ),
    ] = None,
    gt: opt.Truth = None,
    boundaries: opt.BoundaryOption = None,
    length_rule: opt.LengthRuleOption = "auto",
    check_labels: opt.CheckLabels = True,
    *,
    lists: opt.ListOptions,
) -> None:
    """Train LA-Net on videos with one label each, and keep the best epoch's weights.

    Defaults are those of the paper's released code. The folder gets config.yaml, run.json
    (versions, command, seed), model.safetensors, checkpoint.safetensors, history.json and,
    with test videos, scores and metrics.json.
    """
    from ..data import stratified_folds
    from ..engine import (
        Config,
        Reporters,
        TensorBoardReporter,
        cross_validate,
        load_config,
        train,
    )
    from ..engine.tested import check_tested
    from ._reporter import RichReporter

    whole = load_config(config) if config else Config()
    shorthands = {
        "training.epochs": epochs,
        "training.batch_size": batch_size,
        "training.lr": lr,
        "model.prior": prior,
        "loss.ddl": ddl,
        "training.seed": seed,
        "training.validation": validation,
        "training.device": device,
        "training.mixed_precision": mixed_precision,
        "training.select_on_test": select_on_test or None,
    }
    whole = _overridden(whole, shorthands, settings or [])
    truth = opt.ground_truth(gt, boundaries, length_rule, check_labels)
    folder = out or Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S")
    source = {"videos": str(videos.resolve()), "split": split}
    reporter: Reporter = RichReporter()
    if tensorboard:
        reporter = Reporters(reporter, TensorBoardReporter())
    files = (videos, config, gt, test, *lists.files())
    read = [path for path in files if path]
    common: dict[str, Any] = {
        "resume": resume, "reporter": reporter, "command": sys.argv, "source": source,
        "inputs": read,
    }  # fmt: skip

    if folds is None and make_folds is None:
        training = lists.read(videos, split=split)
        test_videos: list[Video] | None = None
        left_out: tuple[LeftOut, ...] = ()
        if test is not None or test_split is not None:
            test_videos, left_out = _test_videos(lists, test or videos, test_split, training, gt)
        truth = dataclasses.replace(truth, left_out=left_out)
        if test_videos is not None:
            check_tested(training, test_videos, truth, what="test videos")
        with _reported():
            result = train(
                whole, training, run_dir=folder,
                test_videos=test_videos, test_ground_truth=truth, **common,
            )  # fmt: skip
            _report(result, test_videos, truth)
        return
    if test is not None or test_split is not None or gt is not None:
        raise typer.BadParameter(
            "--folds hold their own test videos; leave --test, --test-split and --gt out"
        )
    numbers = _fold_numbers("all" if folds is None else folds)
    everything = lists.read(videos, split=split)
    if make_folds is not None:
        everything = stratified_folds(everything, make_folds, seed=whole.training.seed)
    with _reported():
        outcome = cross_validate(
            whole, everything, out_dir=folder, folds=numbers, ground_truth=truth, **common
        )
        console.print(_fold_table(outcome))
        say(f"written to {folder}")


def _overridden(config: Config, shorthands: dict[str, Any], settings: list[str]) -> Config:
    """Apply all changes at once: options are checked against one another."""
    sections: dict[str, dict[str, Any]] = {}
    for name, value in shorthands.items():
        if value is not None:
            section, _, key = name.partition(".")
            sections.setdefault(section, {})[key] = value
            if any(text.partition("=")[0].strip() == name for text in settings):
                raise typer.BadParameter(f"{name} is given twice, by its own option and by --set")
    return config.override(settings, **sections)


def _test_videos(
    lists: opt.ListOptions,
    path: Path,
    split: str | None,
    training: Sequence[Video],
    gt: Path | None,
) -> tuple[list[Video], tuple[LeftOut, ...]]:
    # Where ground truth is given, it says the labels that the list does not.
    labels: Labels = "required" if gt is None else "optional"
    chosen, left_out = lists.read_present(path, split=split, labels=labels)
    both = {video.name for video in training} & {video.name for video in chosen}
    if both:
        raise ValueError(
            f"{len(both)} videos are in training and test, e.g. {min(both)!r}: the test figures "
            "would mean nothing; give lists that don't overlap"
        )
    return chosen, left_out


def _fold_numbers(text: str) -> list[int] | None:
    if text.strip() == "all":
        return None
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"--folds must be 'all' or numbers such as '0,2'; got {text!r}"
        ) from None
    twice = sorted({number for number in numbers if numbers.count(number) > 1})
    if twice:
        raise typer.BadParameter(f"--folds names fold {twice[0]} twice; got {text!r}")
    return numbers


@contextmanager
def _reported() -> Iterator[None]:
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


def _report(result: TrainResult, test_videos: list[Video] | None, truth: GroundTruth) -> None:
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


def _fold_table(outcome: CrossValidation) -> Table:
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
    return table
