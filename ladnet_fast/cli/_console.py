"""What the commands print: consoles, progress bars, tables."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from .._printable import printable
from ._messages import message_of

if TYPE_CHECKING:
    from ..metrics import Metrics

__all__ = [
    "class_table",
    "console",
    "errors",
    "help_text",
    "message_of",
    "metrics_table",
    "number",
    "plain",
    "progress_bar",
    "say",
]

# Of several processes that `accelerate launch` starts, the first one speaks.
_SILENT = os.environ.get("RANK", "0") != "0"
# Names are text: ":smile:" stays what it is, everywhere.
console = Console(quiet=_SILENT, emoji=False, highlight=False)
errors = Console(stderr=True, emoji=False, highlight=False)

_FIGURES = {
    "auc": "AUC",
    "ap": "AP (trapezoidal)",
    "average_precision": "average precision",
    "far": "false-alarm rate",
    "anomalous_auc": "AUC, anomalous videos",
    "anomalous_ap": "AP, anomalous videos",
    "video_auc": "AUC of videos",
}


def plain(text: str, style: str = "") -> Text:
    """Return a name or message for rich as it is: without markup, in one line.

    For whatever a user may have chosen, in cells, titles and captions of tables.
    """
    return Text(printable(text), style=style)


def say(text: str, *, mark: str = "", style: str = "", to: Console = console) -> None:
    """Print a message as it is, in lines as long as they are, after a styled mark.

    For example ``say(message, mark="error:", style="bold red", to=errors)``.
    """
    start = (f"{mark} " if mark else "", style)
    to.print(Text.assemble(start, printable(text, keep="\n")), soft_wrap=True)


@contextmanager
def progress_bar(description: str) -> Iterator[Callable[[str, int, int | None], None]]:
    """Show a bar; yields ``callback(name, done, total)``, total None where it is not known."""
    with Progress(
        SpinnerColumn(),
        TextColumn(description.replace("{", "{{").replace("}", "}}"), markup=False),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("", total=None)

        def callback(name: str, done: int, total: int | None) -> None:
            progress.update(task, description=printable(name), completed=done, total=total)

        yield callback


def metrics_table(metrics: Metrics, title: str = "") -> Table:
    """Return the figures as a table; undefined ones with the reason."""
    table = Table(title=plain(title, "table.title") if title else None, title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("")
    for name, label in _FIGURES.items():
        note = f"at threshold {metrics.threshold:g}" if name == "far" else ""
        reason = plain(metrics.undefined.get(name, note))
        table.add_row(label, number(getattr(metrics, name)), reason)
    table.caption = (
        f"{metrics.num_videos} videos ({metrics.num_anomalous_videos} anomalous), "
        f"{metrics.num_frames:,} frames ({metrics.num_anomalous_frames:,} anomalous)"
    )
    return table


def class_table(metrics: Metrics) -> Table:
    """Return the figures of each class of anomaly as a table."""
    table = Table(title="by class", title_justify="left")
    table.add_column("class")
    for heading in ("videos", "AUC", "AP", "AUC with normal", "AP with normal"):
        table.add_column(heading, justify="right")
    for name, figures in metrics.per_class.items():
        table.add_row(
            plain(name),
            str(figures.num_videos),
            number(figures.auc),
            number(figures.ap),
            number(figures.auc_with_normal),
            number(figures.ap_with_normal),
        )
    return table


def help_text(command: Callable[..., None]) -> str:
    """Return a command's docstring, each paragraph in one line for typer to wrap."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def number(value: float) -> str:
    """Format a figure; a dash where it is undefined."""
    return "-" if math.isnan(value) else f"{value:.4f}"
