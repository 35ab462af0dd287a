"""Extracting the features of many videos into files, so that an interruption costs one video."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from ladnet_fast._allocator import keep_freed_memory
from ladnet_fast._files import atomic_path
from ladnet_fast.video.errors import ExtractionError, VideoError
from ladnet_fast.video.feature_file import FeatureFile, stored_rows
from ladnet_fast.video.features import DEFAULT_BATCH, Progress, iter_features
from ladnet_fast.video.frames import require_crops
from ladnet_fast.video.i3d import FEATURE_DIM, I3D
from ladnet_fast.video.listing import Listing

_FORBIDDEN = (";", "::")  # separate crops and HDF5 keys in a manifest


@dataclass(frozen=True, slots=True)
class ExtractedVideo:
    """What `extract_to_files` has for one video.

    Attributes
    ----------
    video : Path
        The video file.
    features : tuple of Path
        One file (T, 1024) float32 per crop.
    num_snippets : int
        T.
    reused : bool
        Whether the files were there already.
    """

    video: Path
    features: tuple[Path, ...]
    num_snippets: int
    reused: bool


def extract_to_files(
    videos: Iterable[str | os.PathLike[str]],
    out_dir: str | os.PathLike[str],
    *,
    crops: int = 1,
    overwrite: bool = False,
    batch: int = DEFAULT_BATCH,
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
    model: I3D | None = None,
    progress: Progress | None = None,
) -> list[ExtractedVideo]:
    """Write the I3D features of videos to ``out_dir``, and a manifest ``videos.csv`` of them.

    A video ``NAME.mp4`` gives ``NAME.npy`` for one crop, ``NAME__0.npy`` .. ``NAME__9.npy`` for
    several, each (T, 1024) float32. A file appears when it is complete. Videos whose files are
    there are skipped, so an interrupted call is continued by calling again. A video that gives no
    features doesn't stop the others. The manifest has the columns ``video, features, label,
    num_frames, frames_per_snippet``; labels are left empty for you to fill in, and what the file
    held before is kept. ``num_frames`` counts the decoded frames; it is empty for a video whose
    files were made elsewhere. Memory doesn't grow with a video's length.

    On a CPU with glibc, malloc keeps freed memory while this runs
    (`ladnet_fast.video.keep_freed_memory`), which is a setting of the whole process.

    Parameters
    ----------
    videos : iterable of path-like
        Video files with different names.
    out_dir : path-like
        Created if needed.
    crops : int
        1, 5 or 10; see `extract_features`.
    overwrite : bool
        Extract again where files are there already. Needed after a change of ``dtype``: the files
        don't tell.
    batch : int
        Crops of snippets that go through the network at once.
    dtype : torch.dtype or None
        Precision of the network: torch.float32 (None) or torch.bfloat16. Files are float32.
    device : str, torch.device or None
        None: the first GPU that CUDA offers, else the CPU.
    model : I3D or None
        A network to use as it is, instead of the published weights in ``dtype`` on ``device``.
    progress : callable or None
        Called as ``progress(name, done_frames, total_frames)`` now and then.

    Returns
    -------
    list of ExtractedVideo
        In the order of ``videos``.

    Raises
    ------
    ExtractionError
        After the last video, if some failed: it lists each with its reason.
    WeightsError
        If the published weights can't be had.
    ValueError
        If ``videos`` is empty, two have the same name, an argument is out of range, or a
        ``videos.csv`` that is no manifest is in the way.
    OSError
        If a file can't be written; the files of earlier videos are complete.
    """
    require_crops(crops)
    if model is not None and (dtype is not None or device is not None):
        raise ValueError("model comes as it is: leave dtype and device out, or leave model out")
    paths = [Path(video) for video in _as_list(videos)]
    folder = Path(out_dir)
    _require_distinct_names(paths)
    listing = Listing(folder)

    results: list[ExtractedVideo] = []
    failures: dict[Path, str] = {}
    keeping = False
    with ExitStack() as stack:
        for path in paths:
            targets = feature_paths(folder, path, crops)
            snippets = None if overwrite else _finished(targets)
            num_frames, reused = None, snippets is not None
            if snippets is None:
                if model is None:
                    model = _pretrained(dtype, device)
                if not keeping and _on_cpu(model):
                    stack.enter_context(keep_freed_memory())
                    keeping = True
                try:
                    snippets, num_frames = _extract(path, targets, model, crops, batch, progress)
                except VideoError as error:
                    failures[path] = str(error)
                    continue
            results.append(ExtractedVideo(path, targets, snippets, reused))
            listing.put(path.stem, targets, num_frames)
            listing.write()
    if failures:
        raise ExtractionError(failures, total=len(paths))
    return results


def feature_paths(folder: Path, video: Path, crops: int) -> tuple[Path, ...]:
    """Return the feature files of a video: ``NAME.npy``, or ``NAME__0.npy`` .. for several."""
    if crops == 1:
        return (folder / f"{video.stem}.npy",)
    return tuple(folder / f"{video.stem}__{crop}.npy" for crop in range(crops))


def _as_list(videos: Iterable[str | os.PathLike[str]]) -> list[str | os.PathLike[str]]:
    if isinstance(videos, (str, os.PathLike)):
        raise TypeError(f"videos must be a list of paths, got the single path {str(videos)!r}")
    listed = list(videos)
    if not listed:
        raise ValueError("videos is empty: name at least one video file")
    return listed


def _require_distinct_names(paths: list[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in paths:
        if any(mark in path.stem for mark in _FORBIDDEN):
            raise ValueError(f"{path}: a manifest can't hold a name with ';' or '::'; rename it")
        if path.stem in seen:
            raise ValueError(
                f"{seen[path.stem]} and {path} would both be written to {path.stem}.npy; rename "
                "one, or extract into two folders"
            )
        seen[path.stem] = path


def _finished(targets: tuple[Path, ...]) -> int | None:
    """T if all files are there and equally long, else None."""
    lengths = {stored_rows(target, FEATURE_DIM) for target in targets}
    return lengths.pop() if len(lengths) == 1 else None


def _pretrained(dtype: torch.dtype | None, device: str | torch.device | None) -> I3D:
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return I3D.from_pretrained(dtype=dtype or torch.float32).to(device)


def _on_cpu(model: I3D) -> bool:
    return model.conv_1a.conv.weight.device.type == "cpu"


def _extract(
    video: Path,
    targets: tuple[Path, ...],
    model: I3D,
    crops: int,
    batch: int,
    progress: Progress | None,
) -> tuple[int, int]:
    """Write one video's files, all or (when decoding fails) none; return T and the frames."""
    chunks = iter_features(video, model=model, crops=crops, batch=batch, progress=progress)
    try:
        with ExitStack() as stack:
            temporaries = [stack.enter_context(atomic_path(target)) for target in targets]
            with ExitStack() as writing:
                files = [
                    writing.enter_context(FeatureFile(temporary, FEATURE_DIM))
                    for temporary in temporaries
                ]
                for chunk in chunks:
                    for file, rows in zip(files, chunk.features, strict=True):
                        file.append(rows)
    except OSError as error:
        raise OSError(
            error.errno,
            f"writing the features of {video} failed ({error.strerror}); the videos before it "
            "are complete, so free space or mend the folder and run again",
            str(targets[0].parent),
        ) from error
    return files[0].rows, chunk.num_frames
