"""``ladnet-fast score``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from .._extras import import_extra
from ..data import Video
from ..engine import GroundTruth, load_model, save_plot, score_videos, write_run_info, write_scores
from ..engine.evaluation import output_folder, truth_for_plots
from ..engine.inputs import FEATURE_SUFFIXES, check_widths, videos_from_features
from ..engine.scoring import MAX_SNIPPETS, Scores, score_path
from . import _options as opt
from ._console import console, help_text, number, progress_bar
from ._extraction import extract_with_bar

_SHOWN = 20
_EXAMPLE = """
[bold]Examples[/]

ladnet-fast score clip.mp4 --model runs/first --out scores

ladnet-fast score test.csv --model runs/first --out scores

ladnet-fast score features/ --model runs/first/model.safetensors --out scores --no-plots
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("score", help=help_text(command), epilog=_EXAMPLE)(command)


def command(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Video files, feature files (.npy), folders of them; or one manifest (.csv), or "
            "one list with --layout."
        ),
    ],
    model: Annotated[Path, typer.Option(help="Folder of a training run, or a weights file.")],
    out: Annotated[Path, typer.Option(help="Folder for scores and plots.")] = Path("scores"),
    plots: Annotated[bool, typer.Option(help="Draw a picture of each video's scores.")] = True,
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
) -> None:
    """Score every snippet of videos, at any length; labels are not needed.

    Writes for each video NAME.npy (a score per snippet), NAME.csv (with frame numbers) and
    NAME.png (ground truth shaded where it is known).
    """
    truth = opt.ground_truth(gt, boundaries, length_rule)
    on = opt.chosen_device(device)
    net = load_model(model, device=on, impl=impl)
    rates: dict[str, float] = {}
    if len(inputs) == 1 and (layout is not None or inputs[0].suffix.lower() == ".csv"):
        per_snippet = frames_per_snippet if layout is not None else None
        lists = opt.ListOptions(layout, root, remap, anomalous_names, queries, per_snippet)
        videos = lists.read(inputs[0], split=split)
    else:
        if gt is not None:
            raise typer.BadParameter("--gt needs a manifest or list, whose order it follows")
        videos = _videos_from_files(inputs, out, crops, on, frames_per_snippet or 16, rates)
    check_widths(videos, net.feature_dim)
    output_folder(out)
    with progress_bar("scoring") as progress:
        scores = score_videos(net, videos, max_snippets=max_snippets, progress=progress)
    write_scores(out, videos, scores)
    if plots:
        _plot(out, videos, scores, truth, fps, rates)
    write_run_info(
        out,
        command=sys.argv,
        extra={
            "model": str(model.resolve()),
            "inputs": [str(path.resolve()) for path in inputs],
            "device": on,
        },
    )
    console.print(_table(videos, scores))
    console.print(f"written to {out}", highlight=False, markup=False, soft_wrap=True)


def _videos_from_files(
    inputs: Sequence[Path],
    out: Path,
    crops: int,
    device: str,
    frames_per_snippet: int,
    rates: dict[str, float],
) -> list[Video]:
    """Take feature files as they are; extract the features of anything else, a video file."""
    lists = [path for path in inputs if path.suffix.lower() == ".csv"]
    if lists:
        raise typer.BadParameter(f"give the manifest {lists[0]} alone, without other inputs")
    footage = [p for p in inputs if p.is_file() and p.suffix.lower() not in FEATURE_SUFFIXES]
    ready = [path for path in inputs if path not in footage]
    videos = videos_from_features(ready, frames_per_snippet=frames_per_snippet) if ready else []
    if footage:
        for done in extract_with_bar(footage, out / "features", crops=crops, device=device):
            videos += videos_from_features(done.features)
            rate = _frame_rate(done.video)
            if rate is not None:
                rates[videos[-1].name] = rate
    twice = {video.name for video in videos if sum(v.name == video.name for v in videos) > 1}
    if twice:
        raise ValueError(f"two inputs are both named {min(twice)!r}; score them in two calls")
    return videos


def _frame_rate(path: Path) -> float | None:
    av = import_extra("av", extra="video", purpose="read video files")
    with av.open(str(path)) as container:
        rate: Fraction | None = container.streams.video[0].average_rate
    return float(rate) if rate else None


def _plot(
    out: Path,
    videos: Sequence[Video],
    scores: Mapping[str, Scores],
    ground_truth: GroundTruth,
    fps: float | None,
    rates: Mapping[str, float],
) -> None:
    truth = truth_for_plots(videos, scores, ground_truth)
    with progress_bar("plotting") as progress:
        for index, video in enumerate(videos):
            progress(video.name, index, len(videos))
            save_plot(
                score_path(out, video.name).with_name(f"{Path(video.name).name}.png"),
                scores[video.name],
                title=video.name,
                frames_per_snippet=video.frames_per_snippet,
                num_frames=video.num_frames,
                ground_truth=None if truth is None else truth[index],
                fps=fps or rates.get(video.name),
            )


def _table(videos: Sequence[Video], scores: Mapping[str, Scores]) -> Table:
    table = Table()
    table.add_column("video")
    for heading in ("snippets", "mean", "highest", "at snippet"):
        table.add_column(heading, justify="right")
    for video in videos[:_SHOWN]:
        values = scores[video.name]
        table.add_row(
            video.name,
            str(len(values)),
            number(float(values.mean())),
            number(float(values.max())),
            str(int(values.argmax())),
        )
    if len(videos) > _SHOWN:
        table.caption = f"and {len(videos) - _SHOWN} more"
    return table
