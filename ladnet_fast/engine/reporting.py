"""What training reports while it runs, and to whom; the library itself prints nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._extras import import_extra


@dataclass(frozen=True, slots=True)
class Plan:
    """What is about to be done. ``first_epoch`` is 1, or where a resumed run goes on."""

    run_dir: Path
    epochs: int
    steps_per_epoch: int
    bags: int
    videos: int
    validation_videos: int
    parameters: int
    device: str
    first_epoch: int


@dataclass(frozen=True, slots=True)
class StepRecord:
    """Losses of one optimiser step, means over its bags; counted from 1."""

    epoch: int
    step: int
    global_step: int
    total: float
    mil: float
    ranking: float
    alignment: float
    lr: float


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """Means over an epoch, and what validation gave; ``sigma`` is the Gaussian prior's, per head.

    ``metrics`` is empty in epochs that are not validated. ``best`` says that the epoch's weights
    are the best so far.
    """

    epoch: int
    total: float
    mil: float
    ranking: float
    alignment: float
    lr: float
    sigma: tuple[float, ...] | None
    metrics: Mapping[str, float]
    best: bool


class Reporter:
    """Receives what happens in training; every method does nothing until it is overridden."""

    def start(self, plan: Plan) -> None:
        """Training begins, or goes on."""

    def step(self, record: StepRecord) -> None:
        """One optimiser step is done."""

    def epoch(self, record: EpochRecord) -> None:
        """One epoch is done and, if that was due, validated."""

    def message(self, text: str) -> None:
        """Something a user should read."""

    def close(self) -> None:
        """Nothing more will come; also called when training fails."""


class Reporters(Reporter):
    """Passes everything on to several reporters."""

    def __init__(self, *reporters: Reporter) -> None:
        self.reporters = reporters

    def start(self, plan: Plan) -> None:
        """Pass on."""
        for reporter in self.reporters:
            reporter.start(plan)

    def step(self, record: StepRecord) -> None:
        """Pass on."""
        for reporter in self.reporters:
            reporter.step(record)

    def epoch(self, record: EpochRecord) -> None:
        """Pass on."""
        for reporter in self.reporters:
            reporter.epoch(record)

    def message(self, text: str) -> None:
        """Pass on."""
        for reporter in self.reporters:
            reporter.message(text)

    def close(self) -> None:
        """Pass on."""
        for reporter in self.reporters:
            reporter.close()


class TensorBoardReporter(Reporter):
    """Writes scalars for TensorBoard: loss terms, learning rate, metrics and sigma.

    Parameters
    ----------
    log_dir : path-like, optional
        Folder of the event files; default: ``tensorboard`` in each run's own. A resumed run adds
        a file; steps that it repeats replace the earlier ones.

    Raises
    ------
    MissingExtraError
        If tensorboard is not installed (extra "tools").
    """

    def __init__(self, log_dir: str | os.PathLike[str] | None = None) -> None:
        import_extra("tensorboard", extra="tools", purpose="write TensorBoard scalars")
        self.log_dir = log_dir
        self._writer: Any = None
        self._global_step = 0

    def start(self, plan: Plan) -> None:
        """Open the event file."""
        from torch.utils.tensorboard import SummaryWriter

        self.close()  # of the run before, in a cross-validation
        folder = plan.run_dir / "tensorboard" if self.log_dir is None else self.log_dir
        done = (plan.first_epoch - 1) * plan.steps_per_epoch
        self._writer = SummaryWriter(os.fspath(folder), purge_step=done + 1 if done else None)

    def step(self, record: StepRecord) -> None:
        """Write the loss terms and the learning rate of a step."""
        self._global_step = record.global_step
        for name in ("total", "mil", "ranking", "alignment"):
            self._writer.add_scalar(f"loss/{name}", getattr(record, name), record.global_step)
        self._writer.add_scalar("lr", record.lr, record.global_step)

    def epoch(self, record: EpochRecord) -> None:
        """Write the metrics and sigma of an epoch, at its last step."""
        for name, value in record.metrics.items():
            self._writer.add_scalar(f"validation/{name}", value, self._global_step)
        for head, value in enumerate(record.sigma or ()):
            self._writer.add_scalar(f"prior/sigma_{head}", value, self._global_step)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
