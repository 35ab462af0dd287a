"""``ladnet-fast extract``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..engine import write_run_info
from . import _options as opt
from ._console import console, help_text
from ._extraction import extract_with_bar

_EXAMPLE = """
[bold]Examples[/]

ladnet-fast extract clip.mp4 other.avi --out features

ladnet-fast extract videos/*.mp4 --out features --crops 10
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("extract", help=help_text(command), epilog=_EXAMPLE)(command)


def command(
    videos: Annotated[list[Path], typer.Argument(help="Video files.")],
    out: Annotated[Path, typer.Option(help="Folder for the features.")] = Path("features"),
    crops: Annotated[
        int, typer.Option(help="1 (centre), 5 (and corners) or 10 (and mirror images).")
    ] = 1,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Extract again what is there already.")
    ] = False,
    precision: Annotated[str, typer.Option(help="fp32, or bf16: faster, within 2 %.")] = "fp32",
    device: opt.Device = "auto",
) -> None:
    """Compute I3D features of video files: one row of 1,024 numbers for every 16 frames.

    Writes NAME.npy (NAME__0.npy ... for several crops) and the manifest videos.csv, whose labels
    are yours to fill in. Videos that are done are skipped, so that the command can be repeated.
    """
    on = opt.chosen_device(device)
    done = extract_with_bar(
        videos, out, crops=crops, device=on, overwrite=overwrite, precision=precision
    )
    options = {"crops": crops, "precision": precision, "device": on}
    write_run_info(out, command=sys.argv, extra={"options": options})
    for video in done:
        state = "was there" if video.reused else "done"
        console.print(
            f"{video.video.stem}: {video.num_snippets} snippets, {state}",
            highlight=False,
            markup=False,
        )
    console.print(f"written to {out}", highlight=False, markup=False, soft_wrap=True)
