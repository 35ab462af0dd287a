"""The progress of the demo at the terminal."""

from __future__ import annotations

from types import TracebackType

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from .._printable import printable
from ..demo import DemoProgress
from ..engine import Plan, Reporter, StepRecord
from ._console import console, say


class RichProgress(DemoProgress):
    """One bar at a time: snippets of a video, then steps of a training; a line for each stage."""

    def __init__(self) -> None:
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            MofNCompleteColumn(),
            BarColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=console.quiet,
        )
        self._task: TaskID | None = None
        self._shown = ""

    def __enter__(self) -> RichProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def stage(self, text: str) -> None:
        self._clear()
        say(text, to=self._bar.console)

    def features(self, name: str, done: int, total: int) -> None:
        self.show(printable(f"{name}: snippets"), done, total)

    def training(self, number: int, total: int, name: str) -> Reporter:
        self._clear()
        return _TrainingBar(self, f"training {number} of {total}, {name}: steps")

    def show(self, text: str, done: int, total: int) -> None:
        """Move the bar, or start another one where the text is new."""
        if self._task is None or text != self._shown:
            self._clear()
            self._task, self._shown = self._bar.add_task(text, total=total), text
        self._bar.update(self._task, completed=done)

    def _clear(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = None


class _TrainingBar(Reporter):
    def __init__(self, bar: RichProgress, text: str) -> None:
        self._bar, self._text, self._total = bar, text, 0

    def start(self, plan: Plan) -> None:
        self._total = plan.epochs * plan.steps_per_epoch

    def step(self, record: StepRecord) -> None:
        self._bar.show(self._text, record.global_step, self._total)
