"""Videos whose files are missing: left out by name, together with their ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ._arrays import HDF5_SUFFIXES, hdf5_keys
from .video import DataError, Video


class LeftOut(NamedTuple):
    """A video that is left out: its place in the whole list, and the files that are missing."""

    place: int
    video: Video
    missing: tuple[str, ...]


def missing_features(videos: Sequence[Video]) -> dict[str, tuple[str, ...]]:
    """Find the videos of which a file of features, or of the second modality, is missing.

    Returns
    -------
    dict of str to tuple of str
        Names of the missing files (or data sets of an HDF5 file) by the video's name.
    """
    keys: dict[Path, frozenset[str] | None] = {}

    def there(path: Path, key: str | None) -> bool:
        if path not in keys:
            is_hdf5 = path.suffix.lower() in HDF5_SUFFIXES
            keys[path] = None
            if not path.is_file():
                keys[path] = frozenset()
            elif is_hdf5 and key is not None:
                keys[path] = hdf5_keys(path)
        found = keys[path]
        return found is None or (key is not None and key.strip("/") in found)

    missing = {}
    for video in videos:
        sources = [*video.features, *([] if video.query is None else [video.query])]
        absent = tuple(str(source) for source in sources if not there(source.path, source.key))
        if absent:
            missing[video.name] = absent
    return missing


def leave_out(
    videos: Sequence[Video], missing: Mapping[str, Sequence[str]]
) -> tuple[list[Video], tuple[LeftOut, ...]]:
    """Divide videos into those whose files are there, and those with a missing file.

    Parameters
    ----------
    videos : sequence of Video
        The whole list, in its order.
    missing : mapping of str to sequence of str
        What is missing, by name; see `missing_features`.

    Returns
    -------
    (list of Video, tuple of LeftOut)
        The second is what `load_ground_truth` needs to cut a concatenated vector.

    Raises
    ------
    DataError
        If no video is there.
    """
    present = [video for video in videos if not missing.get(video.name)]
    if not present:
        first = videos[0]
        raise DataError(
            f"all {len(videos)} videos have missing files, such as {missing[first.name][0]} "
            f"(video {first.name}); nothing would be left: correct the paths"
        )
    left_out = tuple(
        LeftOut(place, video, tuple(missing[video.name]))
        for place, video in enumerate(videos)
        if missing.get(video.name)
    )
    return present, left_out
