"""Scoring into files, one video after the other: what works is kept, failures are reported."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .._files import remove_leftovers
from .._out_of_memory import NotEnoughMemoryError, memory_errors
from .._outputs import check_outputs
from ..data import DataError, FeatureSource, Video
from ..data.manifest import MANIFEST
from ..data.video import files_of
from ..nn import LANet
from ..video.audio import VGGish
from ..video.extractors import Extractor
from .inputs import Inputs, width_problem
from .run_info import check_run_info
from .score_files import KINDS, ScoreFolder
from .scoring import MAX_SNIPPETS, Scores, score_video
from .trained_on import extractor_problem, video_problem

#: Called with a name, what is done and of how much (None: not known).
Progress = Callable[[str, int, int | None], None]
FEATURES = "features"


@dataclass(frozen=True, slots=True)
class ScoredVideo:
    """A video whose score files are complete.

    ``reused`` says that an earlier call wrote them; ``fps`` is a video file's own frame rate, or
    that at which its frames were chosen: frame numbers of the scores count at this rate.
    """

    video: Video
    scores: Scores
    reused: bool
    fps: float | None


@dataclass(frozen=True, slots=True)
class UnscoredVideo:
    """A video that could not be scored, and why."""

    name: str
    reason: str


def score_each(
    net: LANet,
    found: Inputs,
    folder: ScoreFolder,
    *,
    read: Iterable[str | os.PathLike[str]] = (),
    plots: bool = False,
    crops: int = 1,
    device: str | None = None,
    extractor: Extractor | None = None,
    fps: float | None = None,
    sound: VGGish | None = None,
    decoders: int = 1,
    max_snippets: int = MAX_SNIPPETS,
    progress: Progress | None = None,
) -> Iterator[ScoredVideo | UnscoredVideo]:
    """Score videos into a folder, and yield what became of each as soon as its files are written.

    Features of video files are extracted into the folder's subfolder ``features``. All files that
    will be written are compared with all that are read before this returns.

    Parameters
    ----------
    net : LANet
        In evaluation mode.
    found : Inputs
        From `find_inputs`.
    folder : ScoreFolder
        Where the scores go, and in which precision they are computed; made for ``net``.
    read : iterable of path-like
        More files that must not be written over: lists, ground truth, weights.
    plots : bool
        Whether ``NAME.png`` will be written too.
    crops, device, fps, decoders
        For video files; see `ladnet_fast.video.extract_to_files`.
    extractor : Extractor or None
        For video files, instead of I3D on ``device``; see `ladnet_fast.video.extractors`.
    sound : VGGish or None
        For video files, where the network has queries of its width.
    max_snippets : int
        See `score_video`.
    progress : callable, optional
        Called with a name, what is done, and of how much.

    Raises
    ------
    OutputError
        If a file is in the way, or an output is an input; nothing has been written then.
    DataError
        If there is no input, two have one name, or the extractor is not the one that made the
        features which the network was trained on.
    OSError
        If a file can't be written; the files of earlier videos are complete.
    ImplUnavailableError
        If the network's implementation can't serve here.
    """
    names = [video.name for video in found.videos] + [name for _, name in found.footage]
    if not names:
        raise DataError("found holds no videos; fill it with find_inputs(paths)")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise DataError(f"two inputs are both named {name!r}; score them in two calls")
    inputs = [*read, *input_files(found)]
    outputs = [file for name in names for file in folder.files(name, plot=plots)]
    check_outputs(outputs, inputs, kinds=KINDS, overwrite=folder.overwrite)
    check_run_info(folder.folder, inputs)
    for place in {folder.folder, *(path.parent for path in outputs)}:
        remove_leftovers(place)
    extracted: Iterator[Video | UnscoredVideo] = iter(())
    rates: dict[str, float] = {}
    if found.footage:
        if extractor is not None and (other := extractor_problem(net.trained_on, extractor)):
            raise DataError(other)
        if sound is not None and net.query_dim != sound.width:
            asks = "no queries" if net.query_dim is None else f"queries of width {net.query_dim}"
            raise DataError(f"sound gives queries of width {sound.width}; the model takes {asks}")
        if sound is None and net.query_dim is not None:
            raise DataError(
                f"the model needs queries of width {net.query_dim}, and a video file has none by "
                "itself: describe its sound (--sound vggish:FILE), or score features whose "
                "manifest names the queries in its column query"
            )
        extracted = _extracted(
            found, folder, inputs, crops, device, extractor, fps, sound, decoders, rates, progress
        )
    return _score_each(net, found, extracted, folder, max_snippets, rates, len(names), progress)


def input_files(found: Inputs) -> list[Path]:
    """Return every file that scoring reads for these videos."""
    footage = [path for path, _ in found.footage]
    return footage + found.manifests + files_of(found.videos)


def _extracted(
    found: Inputs,
    folder: ScoreFolder,
    inputs: list[str | os.PathLike[str]],
    crops: int,
    device: str | None,
    extractor: Extractor | None,
    fps: float | None,
    sound: VGGish | None,
    decoders: int,
    rates: dict[str, float],
    progress: Progress | None,
) -> Iterator[Video | UnscoredVideo]:
    """Check what extraction will write now, and extract when asked for the next video."""
    from ..video.decode import frame_rate
    from ..video.extracted import FailedVideo
    from ..video.extraction import extract_each, feature_paths

    place = folder.folder / FEATURES
    files = {name: feature_paths(place, name, crops) for _, name in found.footage}
    for name, features in files.items():
        folder.check_crops(name, features)
    written = [file for features in files.values() for file in features]
    check_outputs([*written, place / MANIFEST], inputs, overwrite=True)
    outcomes = extract_each(
        found.footage, place, crops=crops, device=device, model=extractor,
        overwrite=folder.overwrite, fps=fps, sound=sound, decoders=decoders, progress=progress,
    )  # fmt: skip

    def videos() -> Iterator[Video | UnscoredVideo]:
        for outcome in outcomes:
            if isinstance(outcome, FailedVideo):
                yield UnscoredVideo(outcome.name, outcome.reason)
                continue
            if outcome.no_query is not None:
                yield UnscoredVideo(outcome.name, outcome.no_query)
                continue
            rate = frame_rate(outcome.video) if fps is None else fps
            if rate is not None:
                rates[outcome.name] = rate
            sources = tuple(FeatureSource(file) for file in outcome.features)
            query = None if outcome.query is None else FeatureSource(outcome.query)
            yield Video(outcome.name, sources, None, num_frames=outcome.num_frames, query=query)

    return videos()


def _score_each(
    net: LANet,
    found: Inputs,
    extracted: Iterator[Video | UnscoredVideo],
    folder: ScoreFolder,
    max_snippets: int,
    rates: dict[str, float],
    total: int,
    progress: Progress | None,
) -> Iterator[ScoredVideo | UnscoredVideo]:
    for done, video in enumerate(found.videos):
        if progress is not None:
            progress(video.name, done, total)
        yield _score(net, video, folder, max_snippets, rates)
    for item in extracted:
        if isinstance(item, UnscoredVideo):
            yield item
        else:
            yield _score(net, item, folder, max_snippets, rates)


def _score(
    net: LANet, video: Video, folder: ScoreFolder, max_snippets: int, rates: dict[str, float]
) -> ScoredVideo | UnscoredVideo:
    try:
        other = video_problem(net.trained_on, video) or width_problem(video, net.feature_dim)
        if other:
            raise DataError(other)
        folder.check(video)
        scores = folder.earlier(video)
        reused = scores is not None
        if scores is None:
            with memory_errors("score fewer snippets at once (--max-snippets), or cut the video"):
                scores = score_video(
                    net, video, max_snippets=max_snippets, precision=folder.precision
                )
    except (ValueError, OSError, NotEnoughMemoryError) as error:
        return UnscoredVideo(video.name, str(error))
    if not reused:  # outside of the above: a folder that can't be written to ends everything
        folder.write(video, scores)
    return ScoredVideo(video, scores, reused, rates.get(video.name))
