"""One HTML file that shows the scores of many videos and needs nothing else, network included."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import ArrayLike

from .. import __version__
from .._printable import printable
from .._runs import runs_of
from .._times import snippet_borders
from .._values import count
from ..metrics import frame_scores
from ..metrics.frames import finite_vector
from .intervals import require_rate

#: Bytes that the pictures of a page may have together, as they stand in it.
PICTURE_BYTES = 6_000_000
#: What browsers let the page do: run its own script, show its own style and pictures, and play
#: videos that lie beside it; it reaches no network.
_POLICY = (
    "default-src 'none'; img-src data:; media-src 'self' file:; style-src '{style}'; "
    "script-src '{script}'; base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True, slots=True)
class ReportVideo:
    """One video of a page.

    Parameters
    ----------
    name : str
        Any text.
    scores : array_like, (T,)
        One score per snippet, in [0, 1].
    frames_per_snippet : int or None
        Frames of a snippet; None: the snippets share ``num_frames`` evenly.
    num_frames : int or None
        Length of the video, where known.
    fps : float or None
        Frames per second, where known: the page then shows times instead of frame numbers.
    ground_truth : array_like, (F,), or None
        1 where a frame is anomalous; F is then the length.
    source : Path or None
        The video file, which the page plays from where it lies, seen from the page.
    pictures : mapping of int to bytes
        JPEG of a snippet, the most important first.
    """

    name: str
    scores: ArrayLike
    frames_per_snippet: int | None = 16
    num_frames: int | None = None
    fps: float | None = None
    ground_truth: ArrayLike | None = None
    source: Path | None = None
    pictures: Mapping[int, bytes] = field(default_factory=dict)


def page_text(
    videos: Sequence[ReportVideo],
    *,
    folder: str | os.PathLike[str],
    threshold: float = 0.5,
    min_snippets: int = 1,
    merge_gaps: int = 0,
    title: str = "Anomaly scores",
    picture_bytes: int = PICTURE_BYTES,
) -> str:
    """Return the page as text.

    Parameters
    ----------
    videos : sequence of ReportVideo
        In any order: the page sorts them by their highest score.
    folder : path-like
        Where the page will lie: the videos' addresses are relative to it.
    threshold : float
        Where the slider stands when the page is opened, in [0, 1].
    min_snippets, merge_gaps : int
        Of the intervals; see `ladnet_fast.report.intervals`, whose rule the page follows.
    title : str
        At the top.
    picture_bytes : int
        Bytes that the pictures may take together. The first picture of every video comes before the
        second ones, videos with higher scores first; those that don't fit are left out.

    Raises
    ------
    ValueError
        If there is no video, an argument is out of range, or a video's lengths don't fit one
        another (names it).
    """
    if not videos:
        raise ValueError("videos is empty: a page needs at least one video")
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be a number from 0 to 1; got {threshold}")
    min_snippets, merge_gaps = (
        count("min_snippets", min_snippets),
        count("merge_gaps", merge_gaps, least=0),
    )
    entries = [_entry(video, Path(folder)) for video in videos]
    highest = [float(np.max(np.asarray(video.scores))) for video in videos]
    for index, snippet in _fitting(videos, highest, picture_bytes):
        picture = base64.b64encode(videos[index].pictures[snippet]).decode("ascii")
        entries[index]["pictures"].append([snippet, picture])
    data = {
        "title": printable(title),
        "threshold": threshold,
        "min_snippets": min_snippets,
        "merge_gaps": merge_gaps,
        "version": __version__,
        "videos": [entries[index] for index in np.argsort(-np.array(highest), kind="stable")],
    }
    return _fill(data)


def write_page(path: str | os.PathLike[str], videos: Sequence[ReportVideo], **options: Any) -> Path:
    """Write `page_text` to a file, atomically; ``folder`` is the file's own."""
    from .._files import atomic_write_text

    path = Path(path)
    atomic_write_text(path, page_text(videos, folder=path.parent, **options))
    return path


def _entry(video: ReportVideo, folder: Path) -> dict[str, Any]:
    """Return a video's data for the page's script; short, since there may be hundreds of videos."""
    try:
        scores = finite_vector("scores", video.scores).astype("<f4")
        require_rate(video.fps)
        length, spans = video.num_frames, None
        if video.ground_truth is not None:
            truth = np.asarray(video.ground_truth).astype(bool)
            length = len(truth)
            spans = [border for run in runs_of(truth) for border in run]
        known = video.frames_per_snippet is not None or length is not None
        if known:  # checks that lengths fit
            frame_scores(scores, video.frames_per_snippet, length)
    except ValueError as error:
        raise ValueError(f"{video.name}: {error}") from error
    borders = snippet_borders(len(scores), video.frames_per_snippet, length)
    url, file = (None, None) if video.source is None else _address(video.source, folder)
    return {
        "name": printable(video.name),
        "scores": base64.b64encode(scores.tobytes()).decode("ascii"),
        # null: the snippets share the frames evenly.
        "step": video.frames_per_snippet,
        "frames": float(borders[-1]) if known else None,
        "fps": video.fps if known else None,
        "truth": spans,
        "url": url,
        "file": file,
        "pictures": [],
    }


def _address(video: Path, folder: Path) -> tuple[str, str]:
    """Return a video's address as a page in ``folder`` sees it, and how a person reads it."""
    full = Path(os.path.abspath(video))
    try:
        relative = Path(os.path.relpath(full, os.path.abspath(folder)))
    except ValueError:  # on another drive
        return full.as_uri(), printable(str(full))
    # "./": a name such as "a:b.mp4" would else be taken for an address of the kind "a".
    return "./" + quote(os.fsencode(relative.as_posix())), printable(str(relative))


def _fitting(
    videos: Sequence[ReportVideo], highest: Sequence[float], budget: int
) -> Iterable[tuple[int, int]]:
    """Yield (video, snippet) of the pictures that fit, each video's first ones first."""
    ranked = sorted(
        (rank, -highest[index], index, snippet)
        for index, video in enumerate(videos)
        for rank, snippet in enumerate(video.pictures)
    )
    for _, _, index, snippet in ranked:
        budget -= -(-len(videos[index].pictures[snippet]) // 3) * 4
        if budget < 0:
            return
        yield index, snippet


def _fill(data: Mapping[str, Any]) -> str:
    parts = {suffix: _part(f"page.{suffix}") for suffix in ("html", "css", "js")}
    content = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    # Nothing of the data can end the element that holds it, or begin another one.
    for mark in "<>&\u2028\u2029":
        content = content.replace(mark, f"\\u{ord(mark):04x}")
    policy = _POLICY.format(style=_digest(parts["css"]), script=_digest(parts["js"]))
    values = {
        "policy": policy, "style": parts["css"], "script": parts["js"], "data": content,
        "title": _escaped(data["title"]),
    }  # fmt: skip
    # In one pass: what is filled in is not looked at again.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], parts["html"])


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
