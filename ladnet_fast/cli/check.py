"""``ladnet-fast check``."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from .._outputs import check_outputs
from .._records import record_text
from . import _options as opt
from ._console import console, help_text, progress_bar, say

if TYPE_CHECKING:
    from ..data import Video
    from ..data.check import Report

KIND = "findings of check"
_SHOWN = 20
_COLOURS = {"error": "bold red", "warning": "yellow"}
_EXAMPLE = r"""
[bold]Examples[/]

ladnet-fast check videos.csv

ladnet-fast check train.list --layout ucf-i3d --test test.list --gt gt.npy

ladnet-fast check test.csv --gt annotations.txt --boundaries '\[s,e]' --json findings.json
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check", help=help_text(command), epilog=_EXAMPLE)(command)


@opt.takes_lists(without=("skip_missing",))
def command(
    videos: Annotated[Path, typer.Argument(help="Manifest (.csv), or a list with --layout.")],
    test: Annotated[
        Path | None,
        typer.Option(
            help="Another list or manifest; it is checked too, also for videos that are in both."
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Training run or weights whose widths the features must have."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for counts and all findings.")
    ] = None,
    show_all: Annotated[
        bool,
        typer.Option(
            "--all", help=f"Print all findings, not just the first {_SHOWN} of each kind."
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace a --json file that ladnet-fast did not write."),
    ] = False,
    split: opt.Split = None,
    gt: opt.Truth = None,
    boundaries: opt.BoundaryOption = None,
    length_rule: opt.LengthRuleOption = "auto",
    *,
    lists: opt.ListOptions,
) -> None:
    """Check a data set before training, and list every problem.

    Reads every file once: missing and damaged files, NaN, widths, crops, lengths, labels, ground
    truth, videos that occur twice or in training and test. The folder of a pack is compared with
    its digests first. Exit status 1 if there are errors, 0 with warnings only.
    """
    from ..data import is_pack, verify_pack
    from ..data.check import check_videos
    from ..data.video import files_of
    from ..engine import load_model, run_info
    from ..engine.weights import CONFIG, WEIGHTS

    truth = opt.ground_truth(gt, boundaries, length_rule)
    for folder in (videos, test):
        if folder is not None and is_pack(folder):
            with progress_bar("comparing every byte") as progress:
                verify_pack(folder, progress=progress)
    chosen = _read(lists, videos, split)
    tested = [] if test is None else _read(lists, test, None)
    sizes: dict[str, Any] = {}
    if model is not None:
        net = load_model(model)
        sizes = {name: getattr(net, name) for name in ("feature_dim", "query_dim", "kernel_size")}
    if json_file is not None:
        read = [videos, test, gt, *lists.files(), model]
        files = files_of([*chosen, *tested])
        files += [] if model is None else [model / name for name in (WEIGHTS, CONFIG)]
        check_outputs(
            [json_file],
            [*(path for path in read if path is not None), *files],
            kinds=[KIND],
            overwrite=overwrite,
            remedy="name another --json file, or replace it with --overwrite",
        )
    with progress_bar("checking") as progress:
        report = check_videos(
            chosen,
            test_videos=tested,
            source=truth.source,
            boundaries=truth.boundaries,
            length_rule=truth.length_rule,
            progress=progress,
            **sizes,
        )
    console.print(_table(report))
    _print(report, show_all=show_all, json_file=json_file)
    if json_file is not None:
        content = {**report.as_dict(), "run": run_info(command=sys.argv)}
        text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
        record_text(json_file, text + "\n", {"kind": KIND})
        say(f"written to {json_file}")
    if report.errors:
        raise typer.Exit(1)


def _read(lists: opt.ListOptions, path: Path, split: str | None) -> list[Video]:
    """Read a list whose files may be missing; a manifest with all its splits, if none is named."""
    from ..data import read_manifest

    plain = lists == opt.ListOptions(axes=lists.axes)
    is_manifest = path.suffix.lower() == ".csv" or path.is_dir()
    if not plain or split is not None or not is_manifest:
        return lists.read(path, split=split, check_files=False, labels="optional")
    return lists.with_axes(read_manifest(path, check_files=False))


def _table(report: Report) -> Table:
    table = Table(show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    for name, value in report.counts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else f"{value:,}"
        table.add_row(name, shown or "-")
    return table


def _print(report: Report, *, show_all: bool, json_file: Path | None) -> None:
    """Print the findings, errors first; of each kind only the first few, unless all are wanted."""
    printed: Counter[tuple[str, str]] = Counter()
    totals = Counter((finding.severity, finding.kind) for finding in report.findings)
    for finding in report.findings:
        key = (finding.severity, finding.kind)
        printed[key] += 1
        if show_all or printed[key] <= _SHOWN:
            mark = f"{finding.severity}:"
            say(finding.text, mark=mark, style=_COLOURS[finding.severity])
        elif printed[key] == totals[key]:
            rest = totals[key] - _SHOWN
            where = f" (all of them in {json_file})" if json_file else " (--all prints them)"
            say(f"  and {rest} more of the kind {finding.kind!r}{where}")
    errors, warnings = len(report.errors), len(report.warnings)
    if report.findings:
        say(f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}")
    else:
        say("no problems found")
