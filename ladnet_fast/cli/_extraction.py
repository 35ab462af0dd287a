"""Extracting features with a bar of frames, for two commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import typer

from ._console import progress_bar

if TYPE_CHECKING:
    from ..video import ExtractedVideo

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def extract_with_bar(
    videos: Sequence[Path],
    out: Path,
    *,
    crops: int,
    device: str,
    overwrite: bool = False,
    precision: str = "fp32",
) -> list[ExtractedVideo]:
    """Call :func:`ladnet_fast.video.extract_to_files` and show the frames that are done."""
    from ..video import extract_to_files

    if precision not in PRECISIONS:
        raise typer.BadParameter(f"--precision must be fp32 or bf16; got {precision!r}")
    absent = [str(video) for video in videos if not video.is_file()]
    if absent:  # before the weights are fetched
        raise FileNotFoundError(f"no such video file: {', '.join(absent)}")
    with progress_bar("frames") as progress:
        return extract_to_files(
            videos,
            out,
            crops=crops,
            overwrite=overwrite,
            dtype=PRECISIONS[precision],
            device=device,
            progress=progress,
        )
