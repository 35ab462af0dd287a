"""``ladnet-fast evaluate``."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from .._choices import Smoothing
from .._outputs import check_outputs
from .._records import record_text
from . import _options as opt
from ._console import class_table, console, help_text, metrics_table, say

if TYPE_CHECKING:
    from ..data import LeftOut, Video

KIND = "figures of evaluate"
_EXAMPLE = r"""
[bold]Examples[/]

ladnet-fast evaluate scores test.csv

ladnet-fast evaluate scores test.list --layout ucf-i3d --gt gt-ucf.npy --length-rule snippets

ladnet-fast evaluate scores test.list --layout shanghaitech --gt gt-sh.npy

ladnet-fast evaluate scores test.csv --gt annotations.txt --boundaries '\[s,e]'
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate", help=help_text(command), epilog=_EXAMPLE)(command)


@opt.takes_lists()
def command(
    scores: Annotated[Path, typer.Argument(help="Folder with NAME.npy, one score per snippet.")],
    videos: Annotated[Path, typer.Argument(help="Manifest (.csv), or a list with --layout.")],
    out: Annotated[
        Path | None,
        typer.Option(help="File for the figures.", show_default="SCORES/metrics.json"),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace a file at --out that ladnet-fast did not write. Inputs are never "
            "replaced.",
        ),
    ] = False,
    threshold: Annotated[
        float,
        typer.Option(help="A frame of a normal video with this score or more is a false alarm."),
    ] = 0.5,
    smooth: Annotated[
        str | None,
        typer.Option(
            metavar="KIND:K",
            help="Smooth the scores first: fixed:K (blocks) or slide:K (windows).",
        ),
    ] = None,
    split: opt.Split = None,
    gt: opt.Truth = None,
    boundaries: opt.BoundaryOption = None,
    length_rule: opt.LengthRuleOption = "auto",
    check_labels: opt.CheckLabels = True,
    *,
    lists: opt.ListOptions,
) -> None:
    """Compare scores with frame-level ground truth: AUC, AP, false alarms, figures by class.

    Scores may come from any program, as one .npy of shape (T,) per video. Where the list does not
    say a video's label, the ground truth does.
    """
    from ..data import leave_out
    from ..data.video import files_of
    from ..engine import evaluate_scores, read_scores, run_info
    from ..engine.scoring import score_path

    truth = opt.ground_truth(gt, boundaries, length_rule, check_labels)
    smoothing = _smoothing(smooth)
    if not math.isfinite(threshold):
        raise typer.BadParameter(f"--threshold must be a finite number; got {threshold}")
    chosen = lists.read(videos, split=split, check_files=False, labels="optional")
    left_out: Sequence[LeftOut] = ()
    if lists.skip_missing:
        whole = chosen
        chosen, left_out = leave_out(whole, _missing_scores(scores, whole))
        opt.report_left_out(left_out, len(whole))
        truth = dataclasses.replace(truth, left_out=left_out)
    read = [videos, *([] if gt is None else [gt]), *lists.files()]
    read += files_of(chosen)
    read += [score_path(scores, video.name) for video in chosen]
    target = out or scores / "metrics.json"
    check_outputs([target], read, kinds=[KIND], overwrite=overwrite)
    metrics = evaluate_scores(
        chosen,
        read_scores(scores, chosen),
        ground_truth=truth,
        smoothing=smoothing,
        threshold=threshold,
    )
    known = [video.label for video in chosen if video.label is not None]
    if len(known) < len(chosen):
        say(
            f"{len(chosen) - len(known)} of {len(chosen)} videos have no label in {videos}; by the "
            f"ground truth, {metrics.num_anomalous_videos - sum(known)} of them are anomalous"
        )
    options = {
        "scores": str(scores.resolve()),
        "videos": str(videos.resolve()),
        "split": split,
        "ground_truth": None if gt is None else str(gt.resolve()),
        "boundaries": boundaries,
        "length_rule": length_rule,
        "smooth": smooth,
        "left_out": [entry.video.name for entry in left_out],
        "labels_from_ground_truth": len(chosen) - len(known),
    }
    run = run_info(command=sys.argv, extra={"options": options})
    content = json.dumps({"run": run, **metrics.as_dict()}, indent=2, allow_nan=False)
    record_text(target, content + "\n", {"kind": KIND})
    console.print(metrics_table(metrics))
    if metrics.per_class:
        console.print(class_table(metrics))
    say(f"written to {target}")


def _missing_scores(folder: Path, videos: Sequence[Video]) -> dict[str, tuple[str, ...]]:
    from ..engine.scoring import score_path

    paths = {video.name: score_path(folder, video.name) for video in videos}
    return {name: (str(path),) for name, path in paths.items() if not path.is_file()}


def _smoothing(text: str | None) -> tuple[Smoothing, int] | None:
    if text is None:
        return None
    kind, _, k = text.partition(":")
    if kind not in get_args(Smoothing) or not k.isdecimal() or int(k) < 1:
        raise typer.BadParameter(f"--smooth must be fixed:K or slide:K, K >= 1; got {text!r}")
    return cast("Smoothing", kind), int(k)
