"""Extracting features with a bar of frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ._console import progress_bar

if TYPE_CHECKING:
    from ..video import Footage
    from ..video.extraction import ExtractedVideo, FailedVideo

PRECISIONS = {"fp32": "float32", "bf16": "bfloat16"}


def require_precision(name: str) -> None:
    """Refuse another ``--precision`` than those there are."""
    if name not in PRECISIONS:
        raise typer.BadParameter(f"--precision must be fp32 or bf16; got {name!r}")


def extract_with_bar(
    footage: Sequence[Footage],
    out: Path,
    *,
    crops: int,
    device: str,
    overwrite: bool = False,
    precision: str = "fp32",
) -> list[ExtractedVideo | FailedVideo]:
    """Extract each video with a bar of the frames that are done; return what became of each."""
    import torch

    from ..video.extraction import extract_each

    dtype = getattr(torch, PRECISIONS[precision])
    with progress_bar("frames") as progress:
        return list(
            extract_each(
                footage, out, crops=crops, overwrite=overwrite, dtype=dtype,
                device=device, progress=progress,
            )
        )  # fmt: skip
