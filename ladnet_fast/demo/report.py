"""The report: one HTML file that holds its pictures and needs nothing else."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._extras import import_extra
from .._files import atomic_write_text
from .._printable import printable
from .bootstrap import COVERAGE, FIGURES, RESAMPLES
from .outcome import Outcome, signed

TEMPLATE = "report.html.j2"


def write_report(
    path: Path,
    *,
    outcome: Outcome,
    clips: Sequence[Mapping[str, Any]],
    fades: Sequence[Mapping[str, Any]],
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
    outcome : Outcome
        The figures and what they show.
    clips : sequence of mapping
        ``name``, ``role``, ``frames``, ``size``, ``takes`` and ``picture`` (a file) of each video.
    fades : sequence of mapping
        ``before``, ``after`` and ``picture`` of each pair of videos that fade into each other.
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
    environment.filters |= {
        "inline": _inline, "printable": printable, "shell": shlex.join, "signed": signed,
    }  # fmt: skip
    html = environment.get_template(TEMPLATE).render(
        outcome=outcome,
        names=FIGURES,
        coverage=round(100 * COVERAGE),
        resamples=RESAMPLES,
        clips=clips,
        fades=fades,
        bags=bags,
        settings=settings,
        run=run,
        credit=credit,
    )
    atomic_write_text(path, html)


def _inline(picture: Path) -> str:
    """Return a ``.png`` file as a data URL."""
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")
