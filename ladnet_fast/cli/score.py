"""``ladnet-fast score``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._choices import MAX_SNIPPETS, SCORING_PRECISIONS
from . import _failures, _score_report, _shards
from . import _options as opt
from . import _score_outcome as each
from ._console import console, help_text, progress_bar, say
from ._extraction import (
    Decoders,
    Engine,
    ExtractorOption,
    Precision,
    SoundOption,
    named_extractor,
    tell_unusual_rates,
)

if TYPE_CHECKING:
    from ..data import LeftOut, Video
    from ..engine import GroundTruth
    from ..engine.inputs import Inputs
    from ..engine.score_each import ScoredVideo

_REPORT = "Report"
_EXAMPLE = """
[bold]Examples[/]

ladnet-fast score clip.mp4 --model runs/first --out scores

ladnet-fast score test.csv --model runs/first --out scores

ladnet-fast score features/ --model runs/first/model.safetensors --out scores --no-plots

ladnet-fast score 'cams/**/*.mp4' --model runs/first --out scores --report

ladnet-fast score 'cams/**/*.mp4' --model runs/first --out scores --shard 1/4
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("score", help=help_text(command), epilog=_EXAMPLE)(command)


@opt.takes_lists()
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
            help="Compute everything again, and replace files in --out that ladnet-fast did not "
            "write. Inputs are never replaced.",
        ),
    ] = False,
    fps: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=1000,
            help="Frames per second. Of video files, frames are chosen by time at this rate; for "
            "features, it turns frame numbers into times.",
            show_default="all frames of a video file; of features, frame numbers",
        ),
    ] = None,
    engine: Engine = "torch",
    precision: Precision = "fp32",
    extractor_name: ExtractorOption = "i3d",
    sound: SoundOption = None,
    decoders: Decoders = 1,
    crops: Annotated[int, typer.Option(help="Crops of a video file: 1, 5 or 10.")] = 1,
    device: opt.Device = "auto",
    impl: Annotated[
        str | None,
        typer.Option(
            help="Implementation: auto, reference, native, triton or cuda.",
            show_default="what the model was trained with",
        ),
    ] = None,
    max_snippets: Annotated[
        int,
        typer.Option(min=1, help="Most snippets, counted over crops, that are scored at once."),
    ] = MAX_SNIPPETS,
    scoring_precision: Annotated[
        str,
        typer.Option(
            help="In which the model scores: fp32, or bf16, where the device is faster in it "
            "(docs/training.md says what it costs). --precision is that of features."
        ),
    ] = "fp32",
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Write report.html: all curves, pictures at the peaks, intervals by a slider.",
            rich_help_panel=_REPORT,
        ),
    ] = False,
    intervals: Annotated[
        str | None,
        typer.Option(
            metavar="FORMATS",
            help="Write the intervals whose scores reach the threshold: csv, json (one file for "
            "all videos) and srt (NAME.srt, for players), or several, separated by commas.",
            rich_help_panel=_REPORT,
        ),
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(
            help="Snippets with this score or more are in an interval.", rich_help_panel=_REPORT
        ),
    ] = 0.5,
    min_snippets: Annotated[
        int,
        typer.Option(min=1, help="Leave shorter intervals out.", rich_help_panel=_REPORT),
    ] = 1,
    merge_gaps: Annotated[
        int,
        typer.Option(
            min=0,
            help="Join intervals that are at most this many snippets apart.",
            rich_help_panel=_REPORT,
        ),
    ] = 0,
    shard: _shards.ShardOption = None,
    split: opt.Split = None,
    gt: opt.Truth = None,
    boundaries: opt.BoundaryOption = None,
    length_rule: opt.LengthRuleOption = "auto",
    check_labels: opt.CheckLabels = True,
    *,
    lists: opt.ListOptions,
) -> None:
    """Score every snippet of videos, at any length; labels are not needed.

    Writes for each video NAME.npy (a score per snippet), NAME.csv (with frame numbers) and
    NAME.png (ground truth shaded where it is known), as soon as the video is done. Videos that
    can't be scored are listed at the end with their reasons. Called again, it does what is missing.
    Several processes can share the videos, through torchrun or --shard.
    """
    from .._locks import folder_lock
    from ..engine import load_model, write_run_info
    from ..engine.evaluation import output_folder
    from ..engine.inputs import Inputs
    from ..engine.run_info import LOCK
    from ..engine.score_each import ScoredVideo, UnscoredVideo, input_files, score_each
    from ..engine.score_files import ScoreFolder
    from ..engine.unlike_training import unlike_training
    from ..report.sources import rate_of
    from ..video.audio.sound import named_sound

    truth = opt.ground_truth(gt, boundaries, length_rule, check_labels)
    part = _shards.chosen_shard(shard)
    what = _score_report.wanted(report, intervals, threshold, min_snippets, merge_gaps)
    if what and part.count > 1:
        raise typer.BadParameter(
            "--report and --intervals need all videos, and this process scores a part of them; run "
            "the same command once more when all parts are done, as one process without --shard: "
            "it finds the scores and writes the rest"
        )
    if scoring_precision not in SCORING_PRECISIONS:
        raise typer.BadParameter(
            f"--scoring-precision must be one of {', '.join(SCORING_PRECISIONS)}; "
            f"got {scoring_precision!r}"
        )
    on = _shards.own_device(opt.chosen_device(device))
    extractor = named_extractor(extractor_name, device=on, engine=engine, precision=precision)
    listener = None if sound is None else named_sound(sound, device=on)
    net = load_model(model, device=on, impl=impl)
    is_list = lists.layout is not None or inputs[0].suffix.lower() == ".csv"
    # A folder with a manifest, such as a pack, is read as one where something asks for it.
    is_list = is_list or (inputs[0].is_dir() and (split is not None or gt is not None))
    if len(inputs) == 1 and is_list:
        listed, left_out = _listed(lists, inputs[0], split)
        found, truth = Inputs(videos=listed), dataclasses.replace(truth, left_out=left_out)
    else:
        found = _found(inputs, gt, lists)
    shades: dict[str, Any] = {}
    if gt is not None and (plots or report):  # say what doesn't fit before hours of scoring
        shades = _truth(found, truth)
    if out.exists():
        output_folder(out)
    folder = ScoreFolder(out, net, overwrite=overwrite, precision=scoring_precision)
    read = [*inputs, *([] if gt is None else [gt]), *lists.files()]
    read += [model, *(model / name for name in ("model.safetensors", "config.yaml"))]
    for note in found.notes:
        say(f"note: {note}")
    names = [video.name for video in found.videos] + [name for _, name in found.footage]
    if what:
        files = [file for name in names for file in folder.files(name, plot=plots)]
        _score_report.check(
            what, out, names, files, [*read, *input_files(found)], overwrite=overwrite
        )
    own = part.names(names)
    if not own:  # more processes than videos
        _shards.summarise(part, total=len(names), done=0, there=0, failed=0)
        return
    found.videos = [video for video in found.videos if video.name in own]
    found.footage = [footage for footage in found.footage if footage.name in own]
    done: list[ScoredVideo] = []
    failed: list[UnscoredVideo] = []
    with progress_bar("scoring") as progress:
        for outcome in score_each(
            net, found, folder, read=read, plots=plots, crops=crops, extractor=extractor,
            fps=fps, sound=listener, decoders=decoders, max_snippets=max_snippets,
            progress=progress,
        ):  # fmt: skip
            (done if isinstance(outcome, ScoredVideo) else failed).append(outcome)  # type: ignore[arg-type]
    failures = [(video.name, video.reason) for video in failed]
    if done:
        rates = {entry.video.name: fps or entry.fps or rate_of(entry.video) for entry in done}
        each.tell_times(folder, done, rates)
        truths, unfit = each.truths_of(done, shades) if plots or report else ({}, [])
        failures += [(name, f"is scored, but has no plot: {reason}") for name, reason in unfit]
        drawn = [entry for entry in done if entry.video.name not in dict(unfit)]
        failures += each.plot(folder, drawn, truths, rates) if plots else []
        written, lacking = _score_report.write(what, out, done, truths, rates) if what else ([], [])
        told = {name for name, _ in failures}
        failures += [(name, reason) for name, reason in lacking if name not in told]
        extra: dict[str, Any] = {
            "model": str(model.resolve()),
            "inputs": [str(path.resolve()) for path in inputs],
            "device": on,
            "scoring_precision": scoring_precision,
        }
        if found.footage:
            extra |= {"engine": engine, "precision": precision, "fps": fps}
        if part.count > 1:
            extra["shard"] = str(part)
        if fps is None:
            tell_unusual_rates([(entry.video.name, entry.fps) for entry in done])
        for note in unlike_training(net.trained_on, [entry.video for entry in done]):
            say(f"note: {note}")
        with folder_lock(out, LOCK, wait=-1):
            write_run_info(out, command=sys.argv, extra=extra)
        console.print(each.table_of(done, rates))
        reused = sum(video.reused for video in done)
        there = f"; {reused} of {len(done)} videos were there already" if reused else ""
        say(f"written to {out}{there}")
        for path in [path for path in written if path.suffix != ".srt"]:
            say(f"written: {path}")
    reused = sum(video.reused for video in done)
    _shards.summarise(
        part, total=len(names), done=len(done) - reused, there=reused, failed=len(failed)
    )
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


def _found(inputs: Sequence[Path], gt: Path | None, lists: opt.ListOptions) -> Inputs:
    from ..engine.inputs import find_inputs

    manifests = [path for path in inputs if path.suffix.lower() == ".csv"]
    if manifests:
        raise typer.BadParameter(f"give the manifest {manifests[0]} alone, without other inputs")
    if gt is not None:
        raise typer.BadParameter("--gt needs a manifest or list, whose order it follows")
    found = find_inputs(inputs, frames_per_snippet=lists.frames_per_snippet or 16)
    found.videos = lists.with_axes(found.videos)
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
