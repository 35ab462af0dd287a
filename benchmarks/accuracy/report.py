"""Markdown from summaries: for one study, and the page docs/accuracy.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ladnet_fast._files import atomic_write_text

from ..templating import environment
from . import plots, study, tables
from .tables import Summary
from .tables import cell as cell


def read_summary(path: Path) -> Summary:
    """Read a summary file.

    Raises
    ------
    ValueError
        If it is not one, or one of another version of the benchmark.
    """
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not a summary of the accuracy benchmark: {error}") from error
    if not isinstance(summary, dict) or summary.get("schema") != study.SCHEMA:
        raise ValueError(
            f"{path} was not written by this version of the accuracy benchmark (schema "
            f"{study.SCHEMA}); run it again"
        )
    return summary


def read_folder(folder: Path) -> list[Summary]:
    """Read every summary of a folder, ordered by name.

    Raises
    ------
    FileNotFoundError
        If it has none.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise FileNotFoundError(
            f"{folder} holds no summaries; make some with: "
            f"python -m benchmarks accuracy MANIFEST --out {folder}"
        )
    return [{**read_summary(path), "file": path.name} for path in paths]


def write_study(summary: Summary, folder: Path, name: str) -> Path:
    """Write ``NAME.md`` and its plots; return the file."""
    path = folder / f"{name}.md"
    atomic_write_text(path, _render("accuracy-study.md.j2", path, [summary]).rstrip() + "\n")
    return path


def write_page(summaries: Sequence[Summary], path: Path) -> Path:
    """Write the page of the docs, and its plots into the folder of the same name."""
    atomic_write_text(path, _render("accuracy.md.j2", path, summaries).rstrip() + "\n")
    return path


def _render(template: str, path: Path, summaries: Sequence[Summary]) -> str:
    pages = environment()
    pages.globals.update(
        table=tables.table,
        overview=tables.overview,
        average=tables.average,
        by_bag_labels=tables.by_bag_labels,
        speed_table=tables.speed_table,
        shown_table=tables.shown_table,
        further_table=tables.further_table,
        criteria_table=tables.criteria_table,
        verdict=tables.verdict,
        agreement=tables.agreement,
        training_line=tables.training_line,
        plot=lambda summary, kind: _plot(summary, kind, path),
    )
    kinds: dict[str, list[Summary]] = {}
    for summary in summaries:
        kinds.setdefault(summary["study"].partition("-")[0], []).append(summary)
    return pages.get_template(template).render(summaries=list(summaries), kinds=kinds)


def _plot(summary: Summary, kind: str, path: Path) -> str:
    name = f"{path.stem}/{summary['study']}-{summary['dataset']}-{kind}.svg"
    draw = {
        "differences": plots.draw_differences,
        "curves": plots.draw_curves,
        "shown": plots.draw_shown,
    }[kind]
    return f"![{kind}]({name})" if draw(summary, path.parent / name) else ""
