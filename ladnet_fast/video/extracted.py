"""Results of extraction: a video with its features, or why it has none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
        File with the rows of its sound, if these were asked for.
    no_query : str or None
        Why there are none, if these were asked for.
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
