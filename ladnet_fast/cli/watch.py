"""``ladnet-fast watch``."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from . import _options as opt
from ._console import errors, help_text, say
from ._extraction import Engine, ExtractorOption, Precision, named_extractor

_EXAMPLE = """
[bold]Examples[/]

ladnet-fast watch rtsp://camera.local/stream --model runs/first --threshold 0.7 --clips events

ladnet-fast watch 0 --model runs/first --json-scores

ladnet-fast watch recordings/ --model runs/first --exec ./notify.sh

ffmpeg -i udp://239.0.0.1:5000 -c copy -f mpegts - | ladnet-fast watch - --model runs/first
"""
_ALERTS, _READING, _FILES = "Alerts", "Reading", "Files of events"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("watch", help=help_text(command), epilog=_EXAMPLE)(command)


def command(
    source: Annotated[
        str,
        typer.Argument(
            help="A camera (0, /dev/video0), an address (rtsp://, http://, ...), a file, even one "
            "that still grows, a folder that receives files, or - for a pipe."
        ),
    ],
    model: Annotated[Path, typer.Option(help="Folder of a training run, or a weights file.")],
    window: Annotated[
        int,
        typer.Option(
            min=1, help="Snippets that attention sees; 938 are ten minutes at 25 frames per second."
        ),
    ] = 938,
    delay: Annotated[
        int, typer.Option(min=0, help="Later snippets that a score waits for and takes in.")
    ] = 0,
    json_scores: Annotated[
        bool, typer.Option("--json-scores", help="Print every score as a line of JSON.")
    ] = False,
    crops: Annotated[int, typer.Option(help="Crops of each frame: 1, 5 or 10.")] = 1,
    engine: Engine = "torch",
    precision: Precision = "fp32",
    extractor: ExtractorOption = "i3d",
    device: opt.Device = "auto",
    threshold: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Scores of this or more are high.", rich_help_panel=_ALERTS
        ),
    ] = 0.5,
    hold: Annotated[
        float,
        typer.Option(
            "--for", min=0, help="Seconds that scores must be high for an event to begin.",
            rich_help_panel=_ALERTS,
        ),
    ] = 2.0,
    release: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="An event ends when a score is below this.",
            show_default="0.8 of --threshold", rich_help_panel=_ALERTS,
        ),
    ] = None,
    execute: Annotated[
        str | None,
        typer.Option(
            "--exec", metavar="COMMAND", rich_help_panel=_ALERTS,
            help="Start this program (without a shell) when an event begins and when it ends; it "
            "gets the line of JSON on its standard input.",
        ),
    ] = None,
    exec_timeout: Annotated[
        float,
        typer.Option(
            min=0.001, help="Seconds after which such a program is killed.",
            rich_help_panel=_ALERTS,
        ),
    ] = 30.0,
    clips: Annotated[
        Path | None,
        typer.Option(help="Folder for a clip of each event.", rich_help_panel=_FILES),
    ] = None,
    before: Annotated[
        float,
        typer.Option(min=0, help="Seconds of a clip before its event.", rich_help_panel=_FILES),
    ] = 5.0,
    after: Annotated[
        float,
        typer.Option(min=0, help="Seconds of a clip after its event.", rich_help_panel=_FILES),
    ] = 5.0,
    longest_clip: Annotated[
        float,
        typer.Option(
            min=0.001, help="Seconds of an event after which its clip ends.",
            rich_help_panel=_FILES,
        ),
    ] = 600.0,
    thumbnails: Annotated[
        Path | None,
        typer.Option(help="Folder for a picture of each event's peak.", rich_help_panel=_FILES),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            min=0.1, max=1000, help="Sample the source at this many frames per second.",
            show_default="the source's own", rich_help_panel=_READING,
        ),
    ] = None,
    drop: Annotated[
        bool | None,
        typer.Option(
            "--drop/--no-drop", help="Leave snippets out where this machine is too slow.",
            show_default="yes for live sources, no for files and pipes", rich_help_panel=_READING,
        ),
    ] = None,
    reconnect: Annotated[
        int,
        typer.Option(
            min=0, help="Failed attempts in a row before a lost camera or address is given up.",
            rich_help_panel=_READING,
        ),
    ] = 10,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.001, help="Seconds that a camera or an address may keep silent.",
            rich_help_panel=_READING,
        ),
    ] = 10.0,
    idle: Annotated[
        float | None,
        typer.Option(
            min=0, help="Seconds without growth that end a file, or without new files that end a "
            "folder.",
            show_default="10 for a file, never for a folder", rich_help_panel=_READING,
        ),
    ] = None,
    settle: Annotated[
        float,
        typer.Option(
            min=0, help="Seconds that a folder's file must stay unchanged to be complete.",
            rich_help_panel=_READING,
        ),
    ] = 2.0,
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing", help="Leave out the files that are in the folder at the start.",
            rich_help_panel=_READING,
        ),
    ] = False,
    input_format: Annotated[
        str | None,
        typer.Option(
            help="FFmpeg's name of the source's format.", show_default="what its content tells",
            rich_help_panel=_READING,
        ),
    ] = None,
    input_option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", rich_help_panel=_READING,
            help="FFmpeg's option of the format or protocol, such as rtsp_transport=udp or "
            "video_size=640x480; repeatable.",
        ),
    ] = None,
) -> None:  # fmt: skip
    """Score a camera or another source while it goes on, and report events.

    Prints a line of JSON when an event begins, when it ends, and one with the totals; messages for
    people go to standard error. Ends with the source, or on Ctrl-C or SIGTERM. The exit status is 1
    if something failed on the way: a camera that was lost for good, a damaged file, a clip that
    could not be written, a program of --exec.
    """
    from .._allocator import keep_freed_memory
    from ..engine import load_model
    from ..engine.trained_on import problem
    from ..live import AlertRule, Settings, parse_source, watch
    from ..live.commands import CommandRunner
    from ..live.extractors import cropped
    from ..video.frames import require_crops
    from ._watching import Lines, say_summary

    on = opt.chosen_device(device)
    if precision == "int8":
        raise typer.BadParameter(
            "--precision int8 is calibrated on video files, which a stream is not; use fp32 or bf16"
        )
    require_crops(crops)
    describer = named_extractor(  # standard output is for programs
        extractor, device=on, engine=engine, precision=precision, to=errors
    )
    options = _pairs(input_option or [])
    what = parse_source(source)  # before weights are fetched
    net = load_model(model, device=on)
    if net.feature_dim != describer.width:
        raise ValueError(
            f"{model} was trained on features that are {net.feature_dim} wide; those of "
            f"{describer.name} are {describer.width} wide. Give the extractor that its training "
            "features came from with --extractor"
        )
    if other := problem(net.trained_on, describer.settings, what.name):
        raise ValueError(other)
    settings = Settings(
        window=window, delay=delay, rule=AlertRule(threshold, hold, release), drop=drop, fps=fps,
        reconnect=reconnect, timeout=timeout, idle=idle, settle=settle,
        skip_existing=skip_existing, input_format=input_format, input_options=options,
        clips=clips, thumbnails=thumbnails, before=before, after=after, longest_clip=longest_clip,
    )  # fmt: skip
    runner = None
    if execute is not None:
        runner = CommandRunner(
            execute, timeout=exec_timeout, tell=lambda text: say(text, to=errors)
        )
    describer.load()
    lines = Lines(window=window, all_scores=json_scores, runner=runner)
    try:
        with _stopping() as stop, keep_freed_memory():
            summary = watch(
                source, net, cropped(describer, crops), lines, settings=settings, stop=stop
            )
    finally:
        if runner is not None:
            runner.close()
    failed_commands = 0 if runner is None else runner.failed
    say_summary(what.name, summary, failed_commands)
    if summary.failed or failed_commands:
        raise typer.Exit(1)


def _pairs(options: list[str]) -> dict[str, str]:
    pairs = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not (name and equals):
            raise typer.BadParameter(
                f"--input-option must be NAME=VALUE, such as rtsp_transport=udp; got {option!r}"
            )
        pairs[name] = value
    return pairs


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C and SIGTERM set; a second one ends the process at once."""
    stop = threading.Event()
    before = {}

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
