"""``ladnet-fast score``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.table import Table

from .._choices import MAX_SNIPPETS
from . import _failures
from . import _options as opt
from ._console import console, help_text, number, plain, progress_bar, say

if TYPE_CHECKING:
    from .._choices import Axes
    from ..data import LeftOut, Video
    from ..engine import GroundTruth
    from ..engine.inputs import Inputs
    from ..engine.score_each import ScoredVideo
    from ..engine.score_files import ScoreFolder

_SHOWN = 20
_EXAMPLE = """
[bold]Examples[/]

ladnet-fast score clip.mp4 --model runs/first --out scores

ladnet-fast score test.csv --model runs/first --out scores

ladnet-fast score features/ --model runs/first/model.safetensors --out scores --no-plots

ladnet-fast score 'cams/**/*.mp4' --model runs/first --out scores
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("score", help=help_text(command), epilog=_EXAMPLE)(command)


def command(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Video files, feature files (.npy), folders of either, patterns in quotes; or one "
            "manifest (.csv), or one list with --layout."
        ),
    ],
    model: Annotated[Path, typer.Option(help="Folder of a training run, or a weights file.")],
    out: Annotated[Path, typer.Option(help="Folder for scores and plots.")] = Path("scores"),
    plots: Annotated[bool, typer.Option(help="Draw a picture of each video's scores.")] = True,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Compute everything again, and replace files in --out that are not ours. Inputs "
            "are never replaced.",
        ),
    ] = False,
    fps: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Frames a second, for the plots' time axis.",
            show_default="a video file's own, else frame numbers",
        ),
    ] = None,
    crops: Annotated[int, typer.Option(help="Crops of a video file: 1, 5 or 10.")] = 1,
    device: opt.Device = "auto",
    impl: Annotated[
        str | None,
        typer.Option(
            help="Who computes: auto, reference, native, triton or cuda.",
            show_default="what the model was trained with",
        ),
    ] = None,
    max_snippets: Annotated[
        int,
        typer.Option(min=1, help="Snippets (of several crops) that are scored at once."),
    ] = MAX_SNIPPETS,
    split: opt.Split = None,
    gt: opt.Truth = None,
    boundaries: opt.BoundaryOption = None,
    length_rule: opt.LengthRuleOption = "auto",
    layout: opt.Layout = None,
    root: opt.Root = None,
    remap: opt.Remap = None,
    anomalous_names: opt.AnomalousNames = None,
    queries: opt.Queries = None,
    frames_per_snippet: opt.FramesPerSnippet = None,
    axes: opt.AxesOption = None,
    normal_folder: opt.NormalFolder = None,
    anomalous_folder: opt.AnomalousFolder = None,
    num_frames: opt.NumFrames = None,
    skip_missing: opt.SkipMissing = False,
    check_labels: opt.CheckLabels = True,
) -> None:
    """Score every snippet of videos, at any length; labels are not needed.

    Writes for each video NAME.npy (a score per snippet), NAME.csv (with frame numbers) and
    NAME.png (ground truth shaded where it is known), as soon as the video is done. Videos that
    can't be scored are listed at the end with their reasons. Called again, it does what is missing.
    """
    from .._locks import folder_lock
    from ..engine import load_model, write_run_info
    from ..engine.evaluation import output_folder
    from ..engine.inputs import Inputs
    from ..engine.score_each import ScoredVideo, UnscoredVideo, score_each
    from ..engine.score_files import ScoreFolder

    truth = opt.ground_truth(gt, boundaries, length_rule, check_labels)
    on = opt.chosen_device(device)
    net = load_model(model, device=on, impl=impl)
    if len(inputs) == 1 and (layout is not None or inputs[0].suffix.lower() == ".csv"):
        per_snippet = frames_per_snippet if layout is not None else None
        lists = opt.ListOptions(
            layout, root, remap, anomalous_names, queries, per_snippet, axes, normal_folder,
            anomalous_folder, num_frames, skip_missing,
        )  # fmt: skip
        listed, left_out = _listed(lists, inputs[0], split)
        found, truth = Inputs(videos=listed), dataclasses.replace(truth, left_out=left_out)
    else:
        found = _found(inputs, gt, frames_per_snippet, axes)
    shades: dict[str, Any] = {}
    if gt is not None and plots:  # what doesn't fit is told before hours of scoring
        shades = _truth(found, truth)
    if out.exists():
        output_folder(out)
    folder = ScoreFolder(out, net, overwrite=overwrite)
    read = [
        path for path in (*inputs, gt, anomalous_names, queries, num_frames) if path is not None
    ]
    read += [model, *(model / name for name in ("model.safetensors", "config.yaml"))]
    for note in found.notes:
        say(f"note: {note}")
    done: list[ScoredVideo] = []
    failed: list[UnscoredVideo] = []
    with progress_bar("scoring") as progress:
        for outcome in score_each(
            net, found, folder, read=read, plots=plots, crops=crops, device=on,
            max_snippets=max_snippets, progress=progress,
        ):  # fmt: skip
            (done if isinstance(outcome, ScoredVideo) else failed).append(outcome)  # type: ignore[arg-type]
    failures = [(video.name, video.reason) for video in failed]
    if done:
        failures += _plot(folder, done, shades, fps) if plots else []
        extra = {
            "model": str(model.resolve()),
            "inputs": [str(path.resolve()) for path in inputs],
            "device": on,
        }
        with folder_lock(out, "describing", wait=-1):
            write_run_info(out, command=sys.argv, extra=extra)
        console.print(_table(done))
        reused = sum(video.reused for video in done)
        there = f"; {reused} of {len(done)} videos were there" if reused else ""
        say(f"written to {out}{there}")
    _failures.report(failures, what="could not be done", total=len(done) + len(failed))


def _listed(
    lists: opt.ListOptions, path: Path, split: str | None
) -> tuple[list[Video], tuple[LeftOut, ...]]:
    """Read a manifest or list of which some files may be missing, but not all."""
    videos = lists.read(path, split=split, check_files=False, labels="optional")
    some = any(source.path.is_file() for video in videos for source in video.features)
    if some and not lists.skip_missing:
        return videos, ()
    # Names those that are left out, or says where all of them were looked for.
    return lists.read_present(path, split=split, labels="optional")


def _found(
    inputs: Sequence[Path], gt: Path | None, frames_per_snippet: int | None, axes: str | None
) -> Inputs:
    from ..engine.inputs import find_inputs

    lists = [path for path in inputs if path.suffix.lower() == ".csv"]
    if lists:
        raise typer.BadParameter(f"give the manifest {lists[0]} alone, without other inputs")
    if gt is not None:
        raise typer.BadParameter("--gt needs a manifest or list, whose order it follows")
    found = find_inputs(inputs, frames_per_snippet=frames_per_snippet or 16)
    if axes is not None:
        stated = cast("Axes", axes)
        found.videos = [v if v.axes else dataclasses.replace(v, axes=stated) for v in found.videos]
    return found


def _truth(found: Inputs, truth: GroundTruth) -> dict[str, Any]:
    """Return each video's truth by name; none where a video's length can't be read."""
    from ..data import num_snippets

    try:
        lengths = [num_snippets(video) for video in found.videos]
    except (ValueError, OSError) as error:
        found.notes.append(f"the plots show no ground truth, which needs every length: {error}")
        return {}
    loaded = truth.load(found.videos, lengths)
    return {video.name: frames for video, frames in zip(found.videos, loaded, strict=True)}


def _plot(
    folder: ScoreFolder, done: Sequence[ScoredVideo], shades: Mapping[str, Any], fps: float | None
) -> list[tuple[str, str]]:
    """Draw what is not drawn yet; return the videos whose lengths don't fit."""
    from ..engine import GroundTruth

    failures: list[tuple[str, str]] = []
    with progress_bar("plotting") as progress:
        for index, entry in enumerate(done):
            video = entry.video
            progress(video.name, index, len(done))
            frames = shades.get(video.name)
            if frames is None and video.frame_labels is not None:
                try:
                    (frames,) = GroundTruth().load([video], [len(entry.scores)])
                except (ValueError, OSError) as error:
                    failures.append((video.name, f"is scored, but has no plot: {error}"))
                    continue
            try:
                folder.plot(video, entry.scores, ground_truth=frames, fps=fps or entry.fps)
            except ValueError as error:  # num_frames that the scores don't fit
                failures.append((video.name, f"is scored, but has no plot: {error}"))
    return failures


def _table(done: Sequence[ScoredVideo]) -> Table:
    table = Table()
    table.add_column("video")
    for heading in ("snippets", "mean", "highest", "at snippet"):
        table.add_column(heading, justify="right")
    for entry in done[:_SHOWN]:
        table.add_row(
            plain(entry.video.name),
            str(len(entry.scores)),
            number(float(entry.scores.mean())),
            number(float(entry.scores.max())),
            str(int(entry.scores.argmax())),
        )
    if len(done) > _SHOWN:
        table.caption = f"and {len(done) - _SHOWN} more"
    return table
