"""Feature files of an earlier extraction: whether they are whole, and of which video."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .._choices import PRECISION_OPTIONS
from .._outputs import OutputError
from .._records import DamagedFileError, Record, record_of, verify, wrote
from . import origin
from .errors import VideoError
from .feature_file import stored_rows
from .sources import Footage

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
                break  # reported when its turn comes, beside the others that can't be read
            if found == "other":
                raise OutputError(
                    f"{file} holds the features of another video, {before['path']}, not of "
                    f"{os.path.abspath(video)}; extract into another folder, rename the video, or "
                    "replace them (--overwrite, overwrite=True)"
                )
            if different := _differences(record.made["settings"], settings):
                raise OutputError(
                    f"{file} was extracted with other settings ({'; '.join(different)}): features "
                    "of one set must not be mixed; extract into another folder, with the earlier "
                    f"options{_options(record.made['settings'])}, or again (--overwrite, "
                    "overwrite=True)"
                )


def check_set(
    files: Sequence[Path], settings: Mapping[str, Any], own: Sequence[Sequence[Path]]
) -> None:
    """Refuse to put features beside those of other videos that were made with other settings.

    The number of crops may differ between the videos of a set.

    Parameters
    ----------
    files : sequence of Path
        Feature files of the set; those that are gone, or not ours, don't count.
    settings : mapping
        Of the features that will be written.
    own : sequence of sequence of Path
        The files that will be written: `check_existing` has looked at them.

    Raises
    ------
    OutputError
        Names a file, what it was made with, and what to do.
    """
    written = {file for group in own for file in group}
    for file in files:
        record = record_of(file) if file not in written and file.is_file() else None
        if record is None or record.made.get("kind") != KIND:
            continue
        then = {**record.made["settings"], "crops": settings["crops"]}
        if different := _differences(then, settings):
            raise OutputError(
                f"{file}, of the same folder, was extracted with other settings "
                f"({'; '.join(different)}): features of one set must not be mixed; extract into "
                f"another folder, or with the earlier options{_options(then)}"
            )


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{key} {_value(then, key)!r} then, {_value(now, key)!r} now"
        for key in dict.fromkeys((*now, *then))
        if _value(then, key) != _value(now, key)
    ]


def _value(settings: Mapping[str, Any], key: str) -> Any:
    return settings.get(key, "torch" if key == "engine" else None)


def _options(settings: Mapping[str, Any]) -> str:
    """Return the command-line options that give these settings, as far as they are known."""
    name = PRECISION_OPTIONS.get(settings["precision"])
    if settings["network"] != "i3d" or name is None:
        return ""
    rate = f" --fps {settings['fps']:g}" if "fps" in settings else ""
    return f" (--engine {_value(settings, 'engine')} --precision {name}{rate})"


def is_cut_off(file: Path) -> bool:
    """Tell whether this package wrote ``file`` and it is not a whole feature file any more."""
    if not file.is_file() or record_of(file) is None:
        return False
    return not wrote(file) and stored_rows(file, None) is None


def is_gone(file: Path) -> bool:
    """Tell whether ``file`` is not there, or is not a whole feature file any more."""
    return not file.exists() or is_cut_off(file)


def _whole(file: Path) -> Record | None:
    if not file.is_file():
        return None
    try:
        record = verify(file)
    except DamagedFileError:
        return None
    return record if record is not None and record.made.get("kind") == KIND else None
