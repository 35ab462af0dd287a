"""What ``score`` writes about all of its videos together: the page, and files of intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ._console import progress_bar

if TYPE_CHECKING:
    from ..engine.score_each import ScoredVideo
    from ..report import Interval, ReportVideo

PAGE = "report.html"
FORMATS = ("csv", "json", "srt")
KIND_PAGE, KIND_INTERVALS = "a page of scores", "intervals"
_MOST_PICTURES, _USUAL_PICTURE = 5, 6_000  # of a video; bytes of one in the page


@dataclass(frozen=True, slots=True)
class Wanted:
    """What ``--report`` and ``--intervals`` ask for, and the rule of the intervals."""

    page: bool
    formats: tuple[str, ...]
    threshold: float
    min_snippets: int
    merge_gaps: int

    def __bool__(self) -> bool:
        return self.page or bool(self.formats)

    def files(self, out: Path, names: Iterable[str]) -> list[Path]:
        """Return the files that will be written for these videos."""
        from ..engine.scoring import score_path

        files = [out / PAGE] if self.page else []
        files += [out / f"intervals.{kind}" for kind in self.formats if kind != "srt"]
        if "srt" in self.formats:
            files += [_beside(score_path(out, name)) for name in names]
        return files


def wanted(
    page: bool, formats: str | None, threshold: float, min_snippets: int, merge_gaps: int
) -> Wanted:
    """Check the options."""
    chosen = [] if formats is None else [part.strip() for part in formats.split(",")]
    if any(part not in FORMATS for part in chosen):
        raise typer.BadParameter(
            f"--intervals must be one or more of {', '.join(FORMATS)}, separated by commas; got "
            f"{formats!r}"
        )
    if not 0 <= threshold <= 1:
        raise typer.BadParameter(f"--threshold must be a number from 0 to 1; got {threshold}")
    return Wanted(page, tuple(dict.fromkeys(chosen)), threshold, min_snippets, merge_gaps)


def check(
    what: Wanted,
    out: Path,
    names: Sequence[str],
    scores: Iterable[Path],
    read: Iterable[Path],
    *,
    overwrite: bool,
) -> None:
    """Refuse, before the work, to replace inputs, scores or files of somebody else."""
    from .._outputs import OutputError, check_outputs

    files = what.files(out, names)
    taken = set(files) & set(scores)
    if taken:
        raise OutputError(
            f"{min(taken)} would hold the scores of a video and the intervals of all; rename the "
            "video, or leave --intervals out"
        )
    check_outputs(files, read, kinds=(KIND_PAGE, KIND_INTERVALS), overwrite=overwrite)


def write(
    what: Wanted,
    out: Path,
    done: Sequence[ScoredVideo],
    truths: Mapping[str, Any],
    rates: Mapping[str, float | None],
) -> tuple[list[Path], list[tuple[str, str]]]:
    """Write what is wanted; return the files, and for videos that lack something the reason."""
    from .._records import record_text
    from ..engine.scoring import score_path
    from ..report import as_csv, as_json, as_srt, intervals

    lacking: list[tuple[str, str]] = []
    shown: list[ReportVideo] = []
    found: dict[str, list[Interval]] = {}
    rule = {
        "threshold": what.threshold,
        "min_snippets": what.min_snippets,
        "merge_gaps": what.merge_gaps,
    }
    for entry in done:
        name = entry.video.name
        video = _shown(entry, truths.get(name), rates[name])
        length = video.num_frames if video.ground_truth is None else len(truths[name])
        try:
            found[name] = intervals(
                video.scores, what.threshold, min_snippets=what.min_snippets,
                merge_gaps=what.merge_gaps, frames_per_snippet=video.frames_per_snippet,
                num_frames=length, fps=video.fps,
            )  # fmt: skip
        except ValueError as error:  # num_frames that the scores don't fit
            lacking.append((name, f"is scored, but is not in the report: {error}"))
            continue
        shown.append(video)
    written: list[Path] = []

    def put(path: Path, text: str, kind: str) -> None:
        record_text(path, text, {"kind": kind})
        written.append(path)

    if "csv" in what.formats:
        put(out / "intervals.csv", as_csv(found), KIND_INTERVALS)
    if "json" in what.formats:
        put(out / "intervals.json", as_json(found, rule), KIND_INTERVALS)
    if "srt" in what.formats:
        for video in shown:
            if video.fps is None:
                lacking.append(
                    (
                        video.name,
                        "has no subtitles: its frame rate is not known; give it with --fps",
                    )
                )
            else:
                path = _beside(score_path(out, video.name))
                put(path, as_srt(found[video.name]), KIND_INTERVALS)
    if what.page and shown:
        put(out / PAGE, _page(shown, out, rule, lacking), KIND_PAGE)
    return written, lacking


def _page(
    shown: Sequence[ReportVideo],
    out: Path,
    rule: Mapping[str, Any],
    lacking: list[tuple[str, str]],
) -> str:
    from ..report import PICTURE_BYTES, page_text, peaks, pictures_of
    from ..report.pictures import PictureError

    most = max(1, min(_MOST_PICTURES, PICTURE_BYTES // (_USUAL_PICTURE * len(shown))))
    videos = []
    with progress_bar("pictures") as progress:
        for index, video in enumerate(shown):
            progress(video.name, index, len(shown))
            if video.source is not None and video.fps is not None:
                snippets = peaks(video.scores, most)
                # The middle of the snippet: its first frame may still show what came before.
                middles = [(at + 0.5) * (video.frames_per_snippet or 0) for at in snippets]
                try:
                    pictures = pictures_of(video.source, [m / video.fps for m in middles])
                except PictureError as error:
                    lacking.append((video.name, f"has no pictures in the report: {error}"))
                else:
                    video = replace(video, pictures=dict(zip(snippets, pictures, strict=True)))
            videos.append(video)
    return page_text(videos, folder=out, **rule)


def _shown(entry: ScoredVideo, truth: Any, rate: float | None) -> ReportVideo:
    from ..report import ReportVideo
    from ..report.sources import source_of

    video = entry.video
    return ReportVideo(
        video.name, entry.scores, video.frames_per_snippet, video.num_frames, rate, truth,
        source=source_of(video),
    )  # fmt: skip


def _beside(scores: Path) -> Path:
    return scores.with_name(scores.name.removesuffix(".npy") + ".srt")
