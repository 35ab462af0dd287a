"""What ``score`` writes about each video beside its scores: times, a plot, a row of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from .._times import clock
from ._console import number, plain, progress_bar

if TYPE_CHECKING:
    from ..engine.score_each import ScoredVideo
    from ..engine.score_files import ScoreFolder

SHOWN = 20


def tell_times(
    folder: ScoreFolder, done: Sequence[ScoredVideo], rates: Mapping[str, float | None]
) -> None:
    """Give the tables NAME.csv their column of times, where the frame rate is known."""
    for entry in done:
        rate = rates[entry.video.name]
        if rate is not None:
            folder.tell_times(entry.video, entry.scores, rate)


def truths_of(
    done: Sequence[ScoredVideo], shades: Mapping[str, Any]
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the truth of each video that has one; also, with reasons, where truth doesn't fit."""
    from ..engine import GroundTruth

    truths, unfit = dict(shades), []
    for entry in done:
        video = entry.video
        if video.name in truths or video.frame_labels is None:
            continue
        try:
            (truths[video.name],) = GroundTruth().load([video], [len(entry.scores)])
        except (ValueError, OSError) as error:
            unfit.append((video.name, str(error)))
    return truths, unfit


def plot(
    folder: ScoreFolder,
    done: Sequence[ScoredVideo],
    truths: Mapping[str, Any],
    rates: Mapping[str, float | None],
) -> list[tuple[str, str]]:
    """Draw the plots that are missing; return, with reasons, videos whose lengths don't fit."""
    failures: list[tuple[str, str]] = []
    with progress_bar("plotting") as progress:
        for index, entry in enumerate(done):
            video = entry.video
            progress(video.name, index, len(done))
            try:
                folder.plot(
                    video, entry.scores, ground_truth=truths.get(video.name),
                    fps=rates[video.name],
                )  # fmt: skip
            except ValueError as error:  # num_frames that the scores don't fit
                failures.append((video.name, f"is scored, but has no plot: {error}"))
    return failures


def table_of(done: Sequence[ScoredVideo], rates: Mapping[str, float | None]) -> Table:
    """Return what is printed at the end: each video's highest score and where it is."""
    from ..engine.scoring import snippet_frames

    table = Table()
    table.add_column("video")
    for heading in ("snippets", "mean", "highest", "at snippet"):
        table.add_column(heading, justify="right")
    for entry in done[:SHOWN]:
        peak, rate = int(entry.scores.argmax()), rates[entry.video.name]
        frames = None if rate is None else snippet_frames(entry.video, len(entry.scores))
        when = "" if frames is None or rate is None else f" ({clock(frames[peak][0] / rate)})"
        table.add_row(
            plain(entry.video.name),
            str(len(entry.scores)),
            number(float(entry.scores.mean())),
            number(float(entry.scores.max())),
            f"{peak}{when}",
        )
    if len(done) > SHOWN:
        table.caption = f"and {len(done) - SHOWN} more"
    return table
