"""The report: one HTML file that holds its pictures and needs nothing else."""

from __future__ import annotations

import base64
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ladnet_fast._extras import import_extra
from ladnet_fast._files import atomic_write_text
from ladnet_fast._printable import printable
from ladnet_fast.demo.learn import Trial

TEMPLATE = "report.html.j2"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with and without DDL: the mean over the trainings, the least and the greatest."""

    name: str
    with_ddl: tuple[float, float, float]
    without_ddl: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Repeat:
    """The two trainings of one seed."""

    seed: int
    with_ddl: Trial
    without_ddl: Trial


def pair_trials(trials: Sequence[Trial]) -> list[Repeat]:
    """Put the trainings of every seed side by side."""
    by_kind = {(trial.seed, trial.ddl): trial for trial in trials}
    seeds = sorted({trial.seed for trial in trials})
    return [Repeat(seed, by_kind[seed, True], by_kind[seed, False]) for seed in seeds]


def summarise(repeats: Sequence[Repeat]) -> list[Figure]:
    """Return AUC and AP over all frames of the held-out bags, with and without DDL."""
    return [
        Figure(
            label,
            _spread([getattr(repeat.with_ddl.metrics, name) for repeat in repeats]),
            _spread([getattr(repeat.without_ddl.metrics, name) for repeat in repeats]),
        )
        for name, label in (("auc", "AUC"), ("ap", "AP"))
    ]


def write_report(
    path: Path,
    *,
    repeats: Sequence[Repeat],
    clips: Sequence[Mapping[str, Any]],
    bags: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    run: Mapping[str, Any],
    credit: str,
) -> None:
    """Write the report, atomically.

    Parameters
    ----------
    path : Path
        The ``.html`` file.
    repeats : sequence of Repeat
        The results.
    clips : sequence of mapping
        ``name``, ``role``, ``frames``, ``size``, ``takes`` and ``picture`` (a file) of each video.
    bags : sequence of mapping
        ``name``, ``anomalous`` and ``picture`` of each held-out bag.
    settings : mapping
        What the reader needs to run it again: name -> value.
    run : mapping
        What `ladnet_fast.engine.run_info` says.
    credit : str
        Whose footage it is; may be empty.

    Raises
    ------
    MissingExtraError
        If jinja2 is not installed (extra "tools").
    """
    jinja2 = import_extra("jinja2", extra="tools", purpose="write the report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ladnet_fast.demo"),
        autoescape=True,  # names of files are the user's
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"inline": _inline, "printable": printable, "shell": shlex.join}
    html = environment.get_template(TEMPLATE).render(
        repeats=repeats,
        figures=[asdict(figure) for figure in summarise(repeats)],
        clips=clips,
        bags=bags,
        settings=settings,
        run=run,
        credit=credit,
    )
    atomic_write_text(path, html)


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    return statistics.fmean(values), min(values), max(values)


def _inline(picture: Path) -> str:
    """Return a ``.png`` file as a data URL."""
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")
