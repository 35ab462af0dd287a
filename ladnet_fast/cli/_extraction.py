"""Extracting features with a bar of frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from .._choices import ENGINES, PRECISIONS
from ._console import console, progress_bar, say

if TYPE_CHECKING:
    from ..video import Footage
    from ..video.audio import VGGish
    from ..video.extracted import ExtractedVideo, FailedVideo
    from ..video.extractors import Extractor

ExtractorOption = Annotated[
    str,
    typer.Option(
        "--extractor",
        help="What describes the snippets of videos: i3d, clip:MODEL, or NAME\\[:WHAT] of a "
        "package.",
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        help="What computes the features of video files: torch; compile, the same network by "
        "torch.compile, a minute slower at the start; openvino (on CPUs; pip install "
        "'ladnet-fast\\[openvino]'); or auto: openvino where it can, else torch."
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        help="Of the features of video files: fp32; bf16, within 2 %, and fp16, within 1 %, where "
        "the processor is faster in them (docs/own-videos.md); int8, within 10 %, with openvino "
        "only, calibrated on your videos."
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--fps",
        min=0.01,
        max=1000,
        help="Choose the frames of video files by time: this many per second.",
        show_default="all frames",
    ),
]
Decoders = Annotated[
    int,
    typer.Option(
        "--decoders",
        min=1,
        help="Video files that are decoded at once, for one network: more where the network waits "
        "for frames, as on GPUs. The features are the same.",
    ),
]
SoundOption = Annotated[
    str | None,
    typer.Option(
        "--sound",
        metavar="vggish:FILE",
        help="Describe the sound of video files too, by VGGish with your weights: the queries of "
        "an audio-visual model.",
    ),
]


def named_extractor(
    spec: str, *, device: str, engine: str, precision: str, to: Console = console
) -> Extractor:
    """Make the extractor that options name; say to a console which engine ``auto`` has chosen."""
    from ..video.extractors import make_extractor

    for option, given, allowed in (
        ("--engine", engine, ENGINES),
        ("--precision", precision, tuple(PRECISIONS)),
    ):
        if given not in allowed:
            raise typer.BadParameter(f"{option} must be one of {', '.join(allowed)}; got {given!r}")
    extractor = make_extractor(spec, device=device, engine=engine, precision=precision)
    if engine == "auto":
        settings = extractor.settings if precision != "int8" else {"engine": "openvino"}
        say(f"engine: {settings.get('engine', 'torch')}", to=to)
    return extractor


def extract_with_bar(
    footage: Sequence[Footage],
    out: Path,
    *,
    crops: int,
    extractor: Extractor,
    overwrite: bool = False,
    fps: float | None = None,
    sound: VGGish | None = None,
    decoders: int = 1,
) -> list[ExtractedVideo | FailedVideo]:
    """Extract each video with a bar of the frames that are done; return what became of each."""
    from ..video.extraction import extract_each

    with progress_bar("frames") as progress:
        return list(
            extract_each(
                footage, out, crops=crops, overwrite=overwrite, model=extractor, fps=fps,
                sound=sound, decoders=decoders, progress=progress,
            )
        )  # fmt: skip


def tell_unusual_rates(rates: Sequence[tuple[str, float | None]]) -> None:
    """Name the videos, of (name, frame rate), whose snippets show far more or less than usual."""
    from ..video.resample import unusual

    notes = [(name, note) for name, rate in rates if (note := unusual(rate)) is not None]
    for name, note in notes[:_SHOWN]:
        say(f"note: {name} {note}")
    if len(notes) > _SHOWN:
        say(f"note: {len(notes) - _SHOWN} more videos likewise")


_SHOWN = 5
