"""``ladnet-fast truth``."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from .._outputs import check_outputs
from .._records import recorded
from . import _options as opt
from ._console import console, help_text, progress_bar, say

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..data import Video
    from ..engine import GroundTruth

KIND = "ground truth"
_SHOWN = 3
_EXAMPLE = r"""
[bold]Examples[/]

ladnet-fast truth annotations.txt test.csv --boundaries '\[s,e]' --out gt.npy

ladnet-fast truth annotations.txt test.list --layout ucf-i3d --boundaries '\[s,e)' --out gt.npy

ladnet-fast truth annotations.txt videos.csv --boundaries '\[s,e]' --per-video truth
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("truth", help=help_text(command), epilog=_EXAMPLE)(command)


@opt.takes_lists(without=("queries", "skip_missing"))
def command(
    annotations: Annotated[
        Path, typer.Argument(help="Temporal annotations of UCF-Crime or XD-Violence (.txt).")
    ],
    videos: Annotated[Path, typer.Argument(help="Manifest (.csv), or a list with --layout.")],
    boundaries: opt.BoundaryOption,
    out: Annotated[
        Path | None,
        typer.Option(help="File for one vector of all videos, end to end in the list's order."),
    ] = None,
    per_video: Annotated[
        Path | None, typer.Option(help="Folder for one vector per video, NAME.npy.")
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace files that ladnet-fast did not write. Inputs are never replaced.",
        ),
    ] = False,
    split: opt.Split = None,
    length_rule: opt.LengthRuleOption = "auto",
    check_labels: opt.CheckLabels = True,
    *,
    lists: opt.ListOptions,
) -> None:
    """Build frame-level ground truth from annotations, for your own or re-extracted features.

    The published vectors fit the published features only. This one has the lengths that
    --length-rule takes from your features or from num_frames, and evaluate --gt reads it.
    """
    import numpy as np

    from ..data.video import files_of

    if out is None and per_video is None:
        raise typer.BadParameter("say where the truth goes: --out FILE.npy, or --per-video FOLDER")
    if out is not None and out.suffix.lower() != ".npy":
        raise typer.BadParameter(f"--out must end in .npy, so that --gt reads it; got {str(out)!r}")
    source = opt.ground_truth(annotations, boundaries, length_rule, check_labels)
    chosen = lists.read(videos, split=split, check_files=False, labels="optional")
    truth = source.load(chosen, _lengths(chosen, length_rule))
    targets = _targets(chosen, per_video)
    check_outputs(
        [*([] if out is None else [out]), *targets.values()],
        [annotations, videos, *lists.files(), *files_of(chosen)],
        kinds=[KIND],
        overwrite=overwrite,
    )
    made = _made(annotations, videos, source, split)
    if out is not None:
        _write(out, np.concatenate(truth), made)
    for video, frames in zip(chosen, truth, strict=True):
        if per_video is not None:
            _write(targets[video.name], frames, {**made, "video": video.name})
    console.print(_table(truth))
    if out is not None:
        rule = "" if length_rule == "auto" else f" --length-rule {length_rule}"
        say(f"written to {out}; evaluate with: --gt {shlex.quote(str(out))}{rule}")
    if per_video is not None:
        _say_what_the_manifest_needs(chosen, targets, per_video, videos, lists.layout is None)


def _lengths(videos: Sequence[Video], length_rule: str) -> list[int]:
    """Return the snippets of every video; 1 where its frames are known without its features."""
    from ..data import num_snippets

    lengths = []
    with progress_bar("reading lengths") as progress:
        for index, video in enumerate(videos):
            progress(video.name, index, len(videos))
            known = length_rule != "snippets" and (
                length_rule != "auto" or video.num_frames is not None
            )
            lengths.append(1 if known else num_snippets(video))
    return lengths


def _targets(videos: Sequence[Video], folder: Path | None) -> dict[str, Path]:
    if folder is None:
        return {}
    return {video.name: folder / f"{video.name}.npy" for video in videos}


def _made(
    annotations: Path, videos: Path, source: GroundTruth, split: str | None
) -> dict[str, Any]:
    from ..engine import run_info

    return {
        "kind": KIND,
        "annotations": str(annotations.resolve()),
        "videos": str(videos.resolve()),
        "split": split,
        "boundaries": source.boundaries,
        "length_rule": source.length_rule,
        "run": run_info(command=sys.argv),
    }


def _write(path: Path, frames: NDArray[np.uint8], made: Mapping[str, Any]) -> None:
    import numpy as np

    with recorded(path, made) as temporary, temporary.open("wb") as file:
        np.save(file, frames)


def _table(truth: Sequence[NDArray[np.uint8]]) -> Table:
    table = Table()
    table.add_column("")
    for heading in ("videos", "frames", "anomalous frames"):
        table.add_column(heading, justify="right")
    anomalous = [frames for frames in truth if frames.any()]
    normal = [frames for frames in truth if not frames.any()]
    for name, part in (("anomalous", anomalous), ("normal", normal), ("all", truth)):
        counts = (len(part), sum(map(len, part)), sum(int(frames.sum()) for frames in part))
        table.add_row(name, *(f"{count:,}" for count in counts))
    return table


def _say_what_the_manifest_needs(
    videos: Sequence[Video],
    targets: Mapping[str, Path],
    folder: Path,
    listing: Path,
    is_manifest: bool,
) -> None:
    """Print the column frame_labels for the first videos; paths are relative to a manifest."""
    say(f"written to {folder}, one file per video, {len(videos)} in all")
    say("for the manifest's column frame_labels, beside each video's name:")
    for video in videos[:_SHOWN]:
        path = Path(os.path.abspath(targets[video.name]))
        if is_manifest:
            path = Path(os.path.relpath(path, listing.resolve().parent))
        say(f"  {video.name}: {path.as_posix()}")
    if len(videos) > _SHOWN:
        say(f"  and so on, {len(videos) - _SHOWN} more")
