"""Extracting the features of many videos into files; an interruption loses one video at most."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from .._files import remove_leftovers
from .._outputs import check_outputs
from .._values import count, shown, switch
from .._values import path as checked_path
from . import finished
from .arguments import (
    as_extractor,
    require_device,
    require_dtype,
    require_progress,
)
from .audio.sound import Sound
from .audio.vggish import VGGish
from .describing import describe_videos, settings_of
from .errors import ExtractionError
from .extracted import ExtractedVideo, FailedVideo
from .extractors import Extractor, I3DExtractor
from .extractors.protocol import is_placed
from .features import Progress, require_batch
from .frames import require_crops
from .i3d import I3D
from .listing import Listing
from .resample import require_rate
from .sources import Footage, require_distinct_names


def extract_to_files(
    videos: Iterable[str | os.PathLike[str] | Footage],
    out_dir: str | os.PathLike[str],
    *,
    crops: int = 1,
    overwrite: bool = False,
    batch: int | None = None,
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
    model: I3D | Extractor | None = None,
    progress: Progress | None = None,
    fps: float | None = None,
    decoders: int = 1,
) -> list[ExtractedVideo]:
    """Write the features of videos to ``out_dir``, and a manifest ``videos.csv`` of them.

    A video ``NAME.mp4`` gives ``NAME.npy`` for one crop, ``NAME__0.npy`` .. ``NAME__9.npy`` for
    several, each (T, 1024) float32; another extractor than I3D has its own width. A file appears
    when it is complete, and a hidden folder ``.ladnet`` remembers the content of the video, the
    network and the settings that it was made with. Videos that are done are skipped, so an
    interrupted call is continued by calling again; a video file whose content has changed is
    extracted again. A video that gives no features doesn't stop the others. The manifest has the
    columns ``video, features, label, num_frames, frames_per_snippet``; labels are left empty for
    you to fill in. Whatever else the file holds is kept, also what is added while this runs.
    ``num_frames`` counts the decoded frames. Memory doesn't grow with a video's length.

    On a CPU with glibc, malloc keeps freed memory while this runs
    (`ladnet_fast.video.keep_freed_memory`), which is a setting of the whole process.

    Parameters
    ----------
    videos : iterable of path-like or Footage
        Video files with different names; see `ladnet_fast.video.find_footage` for folders.
    out_dir : path-like
        Created if needed.
    crops : int
        1, 5 or 10; see `extract_features`.
    overwrite : bool
        Extract again where files are there already, whoever wrote them.
    batch : int or None
        Crops of snippets that go through the network at once; see `extract_features`.
    dtype : torch.dtype or None
        Precision of the network: torch.float32 (None) or torch.bfloat16. Files are float32.
    device : str, torch.device or None
        None: the first GPU that CUDA offers, else the CPU.
    model : I3D, Extractor or None
        A network or another extractor (`ladnet_fast.video.extractors`) to use as it is, instead of
        I3D with the published weights in ``dtype`` on ``device``.
    progress : callable or None
        Called as ``progress(name, done_frames, total_frames)`` now and then.
    fps : float or None
        Frames per second: frames are chosen by their times, see `ladnet_fast.video.read_frames`;
        ``num_frames`` counts the chosen frames then, and a column ``fps`` of the manifest holds the
        rate. None: all frames, at each video's own rate.
    decoders : int
        Videos that are decoded at once, each by threads of its own, for one network; more than one
        where the network waits for frames. The features are the same.

    Returns
    -------
    list of ExtractedVideo
        In the order of ``videos``.

    Raises
    ------
    ExtractionError
        After the last video, if some failed: it lists each with its reason.
    WeightsError
        If the published weights can't be fetched.
    OutputError
        If a file is in the way that was not extracted here, or one of another video or of other
        settings, and ``overwrite`` is not asked for. Nothing has been written then.
    ValueError
        If ``videos`` is empty, two have the same name, an argument is out of range, or a
        ``videos.csv`` that is no manifest is in the way.
    OSError
        If a file can't be written; the files of earlier videos are complete.
    """
    outcomes = list(
        extract_each(
            _as_list(videos), out_dir, crops=crops, overwrite=overwrite, batch=batch, dtype=dtype,
            device=device, model=model, progress=progress, fps=fps, decoders=decoders,
        )
    )  # fmt: skip
    failures = {o.video: o.reason for o in outcomes if isinstance(o, FailedVideo)}
    if failures:
        raise ExtractionError(failures, total=len(outcomes))
    return [outcome for outcome in outcomes if isinstance(outcome, ExtractedVideo)]


def extract_each(
    videos: Iterable[str | os.PathLike[str] | Footage],
    out_dir: str | os.PathLike[str],
    *,
    crops: int = 1,
    overwrite: bool = False,
    batch: int | None = None,
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
    model: I3D | Extractor | None = None,
    progress: Progress | None = None,
    fps: float | None = None,
    sound: VGGish | None = None,
    decoders: int = 1,
) -> Iterator[ExtractedVideo | FailedVideo]:
    """Do the work of `extract_to_files`, and yield what became of each video as soon as it is done.

    With ``sound``, its rows are written beside the features, and named in the manifest's column
    ``query``. A video without sound keeps its features, and `ExtractedVideo.no_query` says why it
    has no rows.
    Arguments and files that are in the way are checked before this returns.
    """
    crops, batch = require_crops(crops), require_batch(batch)
    overwrite = switch("overwrite", overwrite)
    require_progress(progress)
    require_rate(fps)
    decoders = count("decoders", decoders)
    if model is not None and (dtype is not None or device is not None):
        raise ValueError(
            "dtype and device must be left out where model is given, which has its own"
        )
    if model is None:
        require_dtype(dtype)
        require_device(device)
        extractor: Extractor = I3DExtractor(lambda: _pretrained(dtype, device), dtype)
    else:
        extractor = as_extractor(model)
    footage = [_footage(video) for video in videos]
    require_distinct_names(footage)
    folder = checked_path("out_dir", out_dir)
    if is_placed(extractor):
        extractor.place(folder, [path for path, _ in footage])
    settings = settings_of(extractor, crops, fps)
    targets = [feature_paths(folder, name, crops) for _, name in footage]
    if not overwrite:
        finished.check_existing(footage, targets, settings)
    check_outputs(
        [file for files in targets for file in files if not finished.is_cut_off(file)],
        [path for path, _ in footage],
        kinds=[finished.KIND],
        overwrite=overwrite,
        remedy="use features that are there as they are, extract into another folder, or replace "
        "them (--overwrite, overwrite=True)",
    )
    listing = Listing(
        folder,
        may_replace=lambda file: overwrite or finished.is_gone(file),
        frames_per_snippet=extractor.frames_per_snippet,
    )
    listing.check({name: files for (_, name), files in zip(footage, targets, strict=True)})
    for place in {folder, *(files[0].parent for files in targets)}:
        remove_leftovers(place)
    if not overwrite:
        finished.check_set(listing.features(), settings, targets)
    sounds = None
    if sound is not None:
        per_snippet = extractor.frames_per_snippet
        sounds = Sound(sound, folder, fps=fps, frames_per_snippet=per_snippet, overwrite=overwrite)
        sounds.check(footage)
    return describe_videos(
        footage, targets, listing, crops, overwrite, batch, extractor, progress, fps, sounds,
        decoders,
    )  # fmt: skip


def feature_paths(folder: Path, name: str, crops: int) -> tuple[Path, ...]:
    """Return the feature files of a video: ``NAME.npy``, or ``NAME__0.npy`` .. for several."""
    if crops == 1:
        return (folder / f"{name}.npy",)
    return tuple(folder / f"{name}__{crop}.npy" for crop in range(crops))


def _as_list(
    videos: Iterable[str | os.PathLike[str] | Footage],
) -> list[str | os.PathLike[str] | Footage]:
    if isinstance(videos, (str, os.PathLike)):
        raise TypeError(f"videos must be a list of paths; got the single path {str(videos)!r}")
    if not isinstance(videos, Iterable):
        raise ValueError(f"videos must be a list of paths; got {shown(videos)}")
    listed = list(videos)
    if not listed:
        raise ValueError("videos is empty: name at least one video file")
    return listed


def _footage(video: str | os.PathLike[str] | Footage) -> Footage:
    if isinstance(video, Footage):
        return video
    path = checked_path("each of videos", video)
    return Footage(path, path.stem)


def _pretrained(dtype: torch.dtype | None, device: str | torch.device | None) -> I3D:
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return I3D.from_pretrained(dtype=dtype or torch.float32).to(device)
