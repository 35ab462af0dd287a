"""``ladnet-fast train``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import _options as opt
from ._console import help_text, say
from ._train_outcome import reported, show_folds, show_result

if TYPE_CHECKING:
    from ..data import LeftOut, Video
    from ..data.lists import Labels
    from ..engine import Config, Reporter

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
        str | None,
        typer.Option(
            help="Autocast of forward and backward: no (fp32), bf16 or fp16.",
            rich_help_panel=_OFTEN,
        ),
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

    docs/method.md says where each default comes from. The folder gets config.yaml, run.json
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
        with reported():
            result = train(
                whole, training, run_dir=folder,
                test_videos=test_videos, test_ground_truth=truth, **common,
            )  # fmt: skip
            show_result(result, test_videos, truth)
        return
    if test is not None or test_split is not None or gt is not None:
        raise typer.BadParameter(
            "--folds hold their own test videos; leave --test, --test-split and --gt out"
        )
    numbers = _fold_numbers("all" if folds is None else folds)
    everything = lists.read(videos, split=split)
    if make_folds is not None:
        everything = stratified_folds(everything, make_folds, seed=whole.training.seed)
    with reported():
        outcome = cross_validate(
            whole, everything, out_dir=folder, folds=numbers, ground_truth=truth, **common
        )
        show_folds(outcome)
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
