"""Writing the queries of many videos into files: one row of VGGish per snippet."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..._outputs import check_outputs
from ..._records import recorded
from ..._tensors import tensors_digest
from ..._values import path as checked_path
from ...data._list_files import QUERY_SUFFIX
from ..decode import frame_rate
from ..errors import VideoError
from .decode import read_audio
from .logmel import examples
from .vggish import VGGish

KIND = "queries"


@dataclass(frozen=True, slots=True)
class QueryOutcome:
    """The result for one video: its file and rows, or why there is none."""

    video: Path
    file: Path | None
    rows: int
    reason: str | None


def extract_queries(
    videos: Sequence[str | os.PathLike[str]],
    snippets: Sequence[int],
    folder: str | os.PathLike[str],
    model: VGGish,
    *,
    fps: float | None = None,
    frames_per_snippet: int = 16,
    overwrite: bool = False,
) -> Iterator[QueryOutcome]:
    """Write ``NAME__vggish.npy``, (T, 128) float32, for every video, and tell what became of it.

    Row t is the embedding of the 0.96 s of sound that begin with snippet t; after the end of the
    sound there is silence. Files of that name are what ``--queries`` looks for.

    Parameters
    ----------
    videos : sequence of path-like
        Video files.
    snippets : sequence of int
        T of every video, as its features have it.
    folder : path-like
        Created if needed.
    model : VGGish
        With weights; see `load_vggish`.
    fps : float, optional
        Frame rate at which the snippets were cut. Default: each file's own.
    frames_per_snippet : int
        Frames of a snippet.
    overwrite : bool
        Replace files that this package did not write.

    Raises
    ------
    OutputError
        If a file is in the way; nothing has been written then.
    OSError
        If a file can't be written.
    """
    paths = [checked_path("videos", video) for video in videos]
    if len(paths) != len(snippets):
        raise ValueError(
            f"snippets must have a number for each of {len(paths)} videos; got {len(snippets)}"
        )
    folder = checked_path("folder", folder)
    files = [folder / f"{path.stem}{QUERY_SUFFIX}.npy" for path in paths]
    check_outputs(files, paths, kinds=[KIND], overwrite=overwrite)
    settings = {"network": "vggish", "weights": tensors_digest(model.state_dict(), {})}
    return _extract(paths, snippets, files, model, settings, fps, frames_per_snippet)


def _extract(
    paths: Sequence[Path],
    snippets: Sequence[int],
    files: Sequence[Path],
    model: VGGish,
    settings: dict[str, str],
    fps: float | None,
    frames: int,
) -> Iterator[QueryOutcome]:
    for path, count, file in zip(paths, snippets, files, strict=True):
        try:
            rate = frame_rate(path) if fps is None else fps
            if rate is None:
                raise VideoError(f"{path} doesn't say its frame rate; give it as fps")
            patches = examples(read_audio(path), hop_seconds=frames / rate, count=count)
        except VideoError as error:
            yield QueryOutcome(path, None, 0, str(error))
            continue
        rows = model.embed(patches)
        made = {
            "kind": KIND, "video": os.path.abspath(path), "settings": settings,
            "seconds": frames / rate,
        }  # fmt: skip
        with recorded(file, made) as temporary, temporary.open("wb") as out:
            np.save(out, rows)
        yield QueryOutcome(path, file, len(rows), None)
