"""``ladnet-fast extract``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from . import _failures, _shards
from . import _options as opt
from ._console import help_text, say
from ._extraction import (
    Decoders,
    Engine,
    ExtractorOption,
    Precision,
    Rate,
    SoundOption,
    extract_with_bar,
    named_extractor,
    tell_unusual_rates,
)

_EXAMPLE = """
[bold]Examples[/]

ladnet-fast extract clip.mp4 other.avi --out features

ladnet-fast extract videos/ --out features --crops 10

ladnet-fast extract 'cams/**/*.mkv' --out features --fps 25

ladnet-fast extract videos/ --out features-int8 --engine openvino --precision int8

ladnet-fast extract videos/ --out features --shard 1/4
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("extract", help=help_text(command), epilog=_EXAMPLE)(command)


def command(
    videos: Annotated[
        list[Path], typer.Argument(help="Video files, folders of them, patterns in quotes.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the features.")] = Path("features"),
    crops: Annotated[
        int,
        typer.Option(
            help="Crops per frame: 1 (centre), 5 (with the corners) or 10 (with mirror images)."
        ),
    ] = 1,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Extract again what is there already, and replace files that ladnet-fast did not "
            "write. Inputs are never replaced.",
        ),
    ] = False,
    engine: Engine = "torch",
    precision: Precision = "fp32",
    fps: Rate = None,
    extractor: ExtractorOption = "i3d",
    sound: SoundOption = None,
    decoders: Decoders = 1,
    device: opt.Device = "auto",
    shard: _shards.ShardOption = None,
) -> None:
    """Compute features of video files: with I3D, one row of 1,024 numbers per 16 frames.

    Writes NAME.npy (NAME__0.npy ... for several crops) and the manifest videos.csv, whose labels
    are yours to fill in; with --sound also NAME__vggish.npy. Videos that are done are skipped, so
    that the command can be repeated; a file that was recorded anew is extracted again. Features of
    videos in subfolders go into the same subfolders. Several processes can share the videos,
    through torchrun or --shard.
    """
    from .._locks import folder_lock
    from ..engine import write_run_info
    from ..engine.run_info import LOCK, check_run_info
    from ..video import find_footage
    from ..video.audio.sound import named_sound
    from ..video.decode import frame_rate
    from ..video.extracted import ExtractedVideo, FailedVideo

    part = _shards.chosen_shard(shard)
    on = _shards.own_device(opt.chosen_device(device))
    describer = named_extractor(extractor, device=on, engine=engine, precision=precision)
    listener = None if sound is None else named_sound(sound, device=on)
    footage = find_footage(videos)
    if not any(path.is_file() for path, _ in footage):  # before the weights are fetched
        raise FileNotFoundError(f"no such video file: {', '.join(str(f.path) for f in footage)}")
    check_run_info(out, [path for path, _ in footage])
    own = part.names(name for _, name in footage)
    total, footage = len(footage), [video for video in footage if video.name in own]
    outcomes = extract_with_bar(
        footage, out, crops=crops, extractor=describer, overwrite=overwrite, fps=fps,
        sound=listener, decoders=decoders,
    )  # fmt: skip
    done = [outcome for outcome in outcomes if isinstance(outcome, ExtractedVideo)]
    failed = [outcome for outcome in outcomes if isinstance(outcome, FailedVideo)]
    if done:
        options = {"crops": crops, "precision": precision, "device": on}
        chosen = {"engine": engine, "extractor": extractor, "fps": fps, "sound": sound}
        usual = {"engine": "torch", "extractor": "i3d", "fps": None, "sound": None}
        options |= {key: value for key, value in chosen.items() if value != usual[key]}
        if part.count > 1:
            options["shard"] = str(part)
        with folder_lock(out, LOCK, wait=-1):
            write_run_info(out, command=sys.argv, extra={"options": options})
    for video in done:
        state = "was there" if video.reused else "done"
        state = "the video has changed, done again" if video.changed else state
        say(f"{video.name}: {video.num_snippets} snippets, {state}")
    if fps is None:
        tell_unusual_rates([(v.name, frame_rate(v.video)) for v in done if not v.reused])
    say(f"written to {out}")
    there = sum(video.reused for video in done)
    _shards.summarise(part, total=total, done=len(done) - there, there=there, failed=len(failed))
    failures = [(video.name, video.reason) for video in failed]
    failures += [
        (video.name, f"has features, but no sound: {video.no_query}")
        for video in done
        if video.no_query is not None
    ]
    what = "gave no features" if sound is None else "lack features or sound"
    _failures.report(failures, what=what, total=len(outcomes))
