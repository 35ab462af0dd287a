"""Extracting the features of many videos into files, so that an interruption costs one video."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ladnet_fast._allocator import keep_freed_memory
from ladnet_fast._files import remove_leftovers
from ladnet_fast._outputs import check_outputs
from ladnet_fast._records import recorded
from ladnet_fast._values import count, shown, switch
from ladnet_fast._values import path as checked_path
from ladnet_fast.video import finished, origin
from ladnet_fast.video.arguments import (
    as_extractor,
    require_device,
    require_dtype,
    require_progress,
)
from ladnet_fast.video.audio.sound import Sound
from ladnet_fast.video.audio.vggish import VGGish
from ladnet_fast.video.errors import ExtractionError, VideoError
from ladnet_fast.video.extractors import Extractor, I3DExtractor
from ladnet_fast.video.extractors.protocol import is_placed, remembered
from ladnet_fast.video.feature_file import FeatureFile
from ladnet_fast.video.features import Progress, default_batch, iter_features, require_batch
from ladnet_fast.video.frames import require_crops
from ladnet_fast.video.i3d import I3D
from ladnet_fast.video.listing import Listing
from ladnet_fast.video.not_video import explain_not_a_video
from ladnet_fast.video.resample import require_rate
from ladnet_fast.video.several import Progress as Told
from ladnet_fast.video.several import SharedExtractor, in_order
from ladnet_fast.video.sources import Footage, require_distinct_names

#: Raised whenever decoding, orientation, resizing or cropping give other pixels than before.
PREPARATION = 1


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
    name : str
        What the video is called in the manifest: the file's name without suffix, or a path below
        the output folder.
    num_frames : int or None
        Decoded frames of the video; with ``fps`` those that were chosen.
    changed : bool
        Whether the files were there, but of an earlier content of the video file.
    query : Path or None
        The rows of its sound, where they were asked for.
    no_query : str or None
        Why it has none, where they were asked for.
    """

    video: Path
    features: tuple[Path, ...]
    num_snippets: int
    reused: bool
    name: str
    num_frames: int | None
    changed: bool = False
    query: Path | None = None
    no_query: str | None = None


@dataclass(frozen=True, slots=True)
class FailedVideo:
    """A video that gave no features, and why."""

    video: Path
    name: str
    reason: str


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
    extracted again. A video that gives no features doesn't
    stop the others. The manifest has the columns ``video, features, label, num_frames,
    frames_per_snippet``; labels are left empty for you to fill in, and what the file holds, also
    what is added to it meanwhile, is kept. ``num_frames`` counts the decoded frames. Memory
    doesn't grow with a video's length.

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
        Frames a second: frames are chosen by their times, see `ladnet_fast.video.read_frames`;
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
        If the published weights can't be had.
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

    With ``sound`` its rows go beside the features, and into the manifest's column ``query``; a
    video without sound keeps its features, and `ExtractedVideo.no_query` says why it has no more.
    Arguments and files that are in the way are checked before this returns.
    """
    crops, batch = require_crops(crops), require_batch(batch)
    overwrite = switch("overwrite", overwrite)
    require_progress(progress)
    require_rate(fps)
    decoders = count("decoders", decoders)
    if model is not None and (dtype is not None or device is not None):
        raise ValueError("model comes as it is: leave dtype and device out, or leave model out")
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
    settings = _settings(extractor, crops, fps)
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
    return _extract_each(
        footage, targets, listing, crops, overwrite, batch, extractor, progress, fps, sounds,
        decoders,
    )  # fmt: skip


def feature_paths(folder: Path, name: str, crops: int) -> tuple[Path, ...]:
    """Return the feature files of a video: ``NAME.npy``, or ``NAME__0.npy`` .. for several."""
    if crops == 1:
        return (folder / f"{name}.npy",)
    return tuple(folder / f"{name}__{crop}.npy" for crop in range(crops))


def _extract_each(
    footage: list[Footage],
    targets: list[tuple[Path, ...]],
    listing: Listing,
    crops: int,
    overwrite: bool,
    batch: int | None,
    extractor: Extractor,
    progress: Progress | None,
    fps: float | None,
    sounds: Sound | None,
    decoders: int,
) -> Iterator[ExtractedVideo | FailedVideo]:
    settings = _settings(extractor, crops, fps)
    shared = SharedExtractor(extractor) if decoders > 1 else extractor
    keeping = threading.Lock()  # held as soon as freed memory is kept
    with ExitStack() as stack:

        def describe(
            item: tuple[Footage, tuple[Path, ...]], tell: Told | None
        ) -> _Described | FailedVideo:
            nonlocal settings
            (path, name), files = item
            problem = explain_not_a_video(path)
            if problem is None and not path.is_file():
                problem = f"no such video file: {path}"
            if problem is not None:
                return FailedVideo(path, name, problem)
            try:
                before = finished.features_of(path, files, settings, shared.width)
                if not overwrite and before.features is not None:
                    return _Described(before.features, reused=True, changed=False)
                shared.load()
                if shared.device.startswith("cpu") and keeping.acquire(blocking=False):
                    stack.enter_context(keep_freed_memory())
                settings = _settings(shared, crops, fps)
                snippets, frames = _extract(path, files, shared, settings, batch, tell, fps)
            except VideoError as error:
                return FailedVideo(path, name, str(error))
            features = finished.Features(snippets, frames)
            return _Described(features, reused=False, changed=before.changed)

        items = list(zip(footage, targets, strict=True))
        if decoders > 1:
            described = in_order(describe, items, decoders, progress)
        else:
            described = (describe(item, progress) for item in items)
        with closing(described):
            for ((path, name), files), outcome in zip(items, described, strict=True):
                if isinstance(outcome, FailedVideo):
                    yield outcome
                    continue
                done = outcome.features
                query = no_query = None
                if sounds is not None:
                    try:
                        query = sounds.describe(path, name, done.num_snippets)
                    except VideoError as error:
                        no_query = str(error)
                listing.put(name, files, done.num_frames, fps, query)
                yield ExtractedVideo(
                    path, files, done.num_snippets, outcome.reused, name, done.num_frames,
                    changed=outcome.changed, query=query, no_query=no_query,
                )  # fmt: skip


class _Described(NamedTuple):
    """Features that are there, whether they were before, and of another content of the file."""

    features: finished.Features
    reused: bool
    changed: bool


def _as_list(
    videos: Iterable[str | os.PathLike[str] | Footage],
) -> list[str | os.PathLike[str] | Footage]:
    if isinstance(videos, (str, os.PathLike)):
        raise TypeError(f"videos must be a list of paths, got the single path {str(videos)!r}")
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


def _settings(extractor: Extractor, crops: int, fps: float | None) -> dict[str, Any]:
    """Return what tells sets of features apart that must not be mixed."""
    rate = {} if fps is None else {"fps": float(fps)}
    return {"crops": crops, "preparation": PREPARATION, **remembered(extractor), **rate}


def _pretrained(dtype: torch.dtype | None, device: str | torch.device | None) -> I3D:
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return I3D.from_pretrained(dtype=dtype or torch.float32).to(device)


def _extract(
    video: Path,
    targets: tuple[Path, ...],
    extractor: Extractor,
    settings: dict[str, Any],
    batch: int | None,
    progress: Progress | None,
    fps: float | None,
) -> tuple[int, int]:
    """Write one video's files, all or (when decoding fails) none; return T and the frames."""
    source = origin.describe(video)
    made = [
        {"kind": finished.KIND, "video": source, "settings": settings, "crop": crop}
        for crop in range(len(targets))
    ]
    chunks = iter_features(
        video,
        model=extractor,
        crops=len(targets),
        batch=batch or default_batch(extractor),
        progress=progress,
        fps=fps,
    )
    try:
        with ExitStack() as stack:
            temporaries = [
                stack.enter_context(recorded(target, about))
                for target, about in zip(targets, made, strict=True)
            ]
            with ExitStack() as writing:
                files = [
                    writing.enter_context(FeatureFile(temporary, extractor.width))
                    for temporary in temporaries
                ]
                writing.enter_context(closing(chunks))
                for chunk in chunks:
                    for file, rows in zip(files, chunk.features, strict=True):
                        file.append(rows)
            after = video.stat()
            if (after.st_size, after.st_mtime_ns) != (source["size"], source["mtime_ns"]):
                raise VideoError(
                    f"{video}: has changed while it was read; extract it when it is complete"
                )
            for about in made:
                about["num_frames"] = chunk.num_frames
    except OSError as error:
        raise OSError(
            error.errno,
            f"writing the features of {video} failed ({error.strerror}); the videos before it "
            "are complete, so free space or mend the folder and run again",
            str(targets[0].parent),
        ) from error
    return files[0].rows, chunk.num_frames
