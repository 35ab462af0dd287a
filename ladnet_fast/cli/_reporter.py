"""The progress of a training at the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..engine import EpochRecord, Plan, Reporter, StepRecord
from ._console import console, say


class RichReporter(Reporter):
    """A progress bar over epochs with the latest losses, and a printed line for each message."""

    def __init__(self, to: Console = console) -> None:
        self._console = to
        self._progress: Progress | None = None
        self._plan: Plan | None = None
        self._validated = ""

    def start(self, plan: Plan) -> None:
        """Show what will be trained, and the bar."""
        self.close()
        held_out = f", {plan.validation_videos} videos held out" if plan.validation_videos else ""
        say(
            f"{plan.bags} bags of {plan.videos} videos{held_out}; {plan.parameters:,} parameters "
            f"on {plan.device}",
            to=self._console,
        )
        self._plan, self._validated = plan, ""
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("", total=plan.epochs, completed=plan.first_epoch - 1)
        self._progress.start()

    def step(self, record: StepRecord) -> None:
        """Move the bar by a step."""
        assert self._progress is not None
        assert self._plan is not None
        self._progress.update(
            self._task,
            completed=record.epoch - 1 + record.step / self._plan.steps_per_epoch,
            description=f"loss {record.total:.4f}{self._validated}",
        )

    def epoch(self, record: EpochRecord) -> None:
        """Keep the figure of the validation, to show it beside the loss; print the last epoch."""
        figure = next((name for name in ("auc", "video_auc") if name in record.metrics), None)
        if figure is not None:
            self._validated = f", held-out {figure} {record.metrics[figure]:.4f}"
        if self._plan is not None and record.epoch == self._plan.epochs:
            say(
                f"epoch {record.epoch}: loss {record.total:.4f} (MIL {record.mil:.4f}, ranking "
                f"{record.ranking:.4f}, alignment {record.alignment:.4f}){self._validated}",
                to=self._console,
            )

    def message(self, text: str) -> None:
        """Print a line."""
        say(text, to=self._console)

    def close(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
