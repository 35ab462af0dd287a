"""Feature files that an earlier extraction left: whether they are whole, and of which video."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ladnet_fast._outputs import OutputError
from ladnet_fast._records import DamagedFileError, Record, record_of, verify, wrote
from ladnet_fast.video import origin
from ladnet_fast.video.errors import VideoError
from ladnet_fast.video.feature_file import stored_rows
from ladnet_fast.video.sources import Footage

KIND = "features"


class Features(NamedTuple):
    """Snippets and frames of a video whose features are there."""

    num_snippets: int
    num_frames: int | None


class Earlier(NamedTuple):
    """What is there of a video: features that still hold, or features of an earlier content."""

    features: Features | None
    changed: bool


def features_of(
    video: Path, files: Sequence[Path], settings: Mapping[str, Any], width: int
) -> Earlier:
    """Look for the features of ``video``, (T, ``width``) made with ``settings``, in its files."""
    records = [_whole(file) for file in files]
    known = [record for record in records if record is not None]
    origins = {origin.compare(video, record.made["video"]) for record in known}
    if len(known) < len(files) or origins != {"same"}:
        return Earlier(None, "changed" in origins)
    if any(record.made["settings"] != dict(settings) for record in known):
        return Earlier(None, False)
    lengths = {stored_rows(file, width) for file in files}
    snippets = lengths.pop()
    if lengths or snippets is None:
        return Earlier(None, False)
    return Earlier(Features(snippets, known[0].made.get("num_frames")), False)


def check_existing(
    footage: Sequence[Footage],
    targets: Sequence[Sequence[Path]],
    settings: Mapping[str, Any],
) -> None:
    """Refuse to replace features of another video, or of other settings, by those at hand.

    Raises
    ------
    OutputError
        Names the file, what it holds, and what to do.
    """
    for (video, _), files in zip(footage, targets, strict=True):
        for file in files:
            record = record_of(file) if file.is_file() else None
            if record is None or record.made.get("kind") != KIND or not video.is_file():
                continue
            before = record.made["video"]
            try:
                found = origin.compare(video, before)
            except VideoError:
                break  # its turn comes: what can't be read is told then, beside the others
            if found == "other":
                raise OutputError(
                    f"{file} holds the features of another video, {before['path']}, not of "
                    f"{os.path.abspath(video)}; extract into another folder, rename the video, or "
                    "replace them (--overwrite, overwrite=True)"
                )
            then = record.made["settings"]
            different = [
                f"{key} {then.get(key)!r} then, {settings.get(key)!r} now"
                for key in dict.fromkeys((*settings, *then))
                if then.get(key) != settings.get(key)
            ]
            if different:
                raise OutputError(
                    f"{file} was extracted with other settings ({'; '.join(different)}): features "
                    "of one set must not be mixed; extract into another folder, or again "
                    "(--overwrite, overwrite=True)"
                )


def is_cut_off(file: Path) -> bool:
    """Tell whether we wrote ``file`` and it is no whole feature file any more."""
    if not file.is_file() or record_of(file) is None:
        return False
    return not wrote(file) and stored_rows(file, None) is None


def is_gone(file: Path) -> bool:
    """Tell whether ``file`` is no whole feature file any more, or is not there."""
    return not file.exists() or is_cut_off(file)


def _whole(file: Path) -> Record | None:
    if not file.is_file():
        return None
    try:
        record = verify(file)
    except DamagedFileError:
        return None
    return record if record is not None and record.made.get("kind") == KIND else None
