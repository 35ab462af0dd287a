"""Writing the features of one video after the other, or of several at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

from .._allocator import keep_freed_memory
from .._records import recorded
from . import finished, origin
from .audio.sound import Sound
from .errors import VideoError
from .extracted import ExtractedVideo, FailedVideo
from .extractors import Extractor
from .extractors.protocol import remembered
from .feature_file import FeatureFile
from .features import Progress, default_batch, iter_features
from .listing import Listing
from .not_video import explain_not_a_video
from .several import SharedExtractor, in_order
from .sources import Footage

#: Version of the pixels; raised whenever decoding, orienting, resizing or cropping changes them.
PREPARATION = 1


def settings_of(extractor: Extractor, crops: int, fps: float | None) -> dict[str, Any]:
    """Return the settings in which features must agree to be mixed in one set."""
    rate = {} if fps is None else {"fps": float(fps)}
    return {"crops": crops, "preparation": PREPARATION, **remembered(extractor), **rate}


def describe_videos(
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
    """Do the work of `ladnet_fast.video.extraction.extract_each`, which has checked everything."""
    settings = settings_of(extractor, crops, fps)
    shared = SharedExtractor(extractor) if decoders > 1 else extractor
    keeping = threading.Lock()  # held as soon as freed memory is kept
    with ExitStack() as stack:

        def found() -> Iterator[_Found]:
            # In this thread alone: NumPy reads headers with Python's parser, which now and then
            # fails where several threads use it at once.
            for (path, name), files in zip(footage, targets, strict=True):
                problem = explain_not_a_video(path)
                if problem is None and not path.is_file():
                    problem = f"no such video file: {path}"
                if problem is None:
                    try:
                        earlier = finished.features_of(path, files, settings, shared.width)
                    except VideoError as error:
                        problem = str(error)
                if problem is None:
                    yield _Found(path, name, files, earlier)
                else:
                    yield _Found(path, name, files, FailedVideo(path, name, problem))

        def describe(
            item: _Found, tell: Progress | None
        ) -> tuple[_Found, _Described | FailedVideo]:
            nonlocal settings
            path, name, files, earlier = item
            if isinstance(earlier, FailedVideo):
                return item, earlier
            if not overwrite and earlier.features is not None:
                return item, _Described(earlier.features, reused=True, changed=False)
            try:
                shared.load()
                if shared.device.startswith("cpu") and keeping.acquire(blocking=False):
                    stack.enter_context(keep_freed_memory())
                settings = settings_of(shared, crops, fps)
                snippets, frames = _extract(path, files, shared, settings, batch, tell, fps)
            except VideoError as error:
                return item, FailedVideo(path, name, str(error))
            features = finished.Features(snippets, frames)
            return item, _Described(features, reused=False, changed=earlier.changed)

        if decoders > 1:
            described = in_order(describe, found(), decoders, progress)
        else:
            described = (describe(item, progress) for item in found())
        with closing(described):
            for (path, name, files, _), outcome in described:
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


class _Found(NamedTuple):
    """A video and the features that it has already, or why it can't be described."""

    path: Path
    name: str
    files: tuple[Path, ...]
    earlier: finished.Earlier | FailedVideo


class _Described(NamedTuple):
    """Features that are there, whether they were before, and of another content of the file."""

    features: finished.Features
    reused: bool
    changed: bool


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
