"""What somebody wants scored: feature files and folders of them, as videos without labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..data import LAYOUTS, DataError, FeatureSource, Video, feature_shape

FEATURE_SUFFIXES = (".npy", ".txt")
_CROPS = LAYOUTS["ucf-i3d"]  # NAME.npy or NAME__0.npy, then NAME__1.npy, NAME__2.npy, ...


def videos_from_features(
    paths: Iterable[str | os.PathLike[str]], *, frames_per_snippet: int | None = 16
) -> list[Video]:
    """Make videos of feature files, crops grouped by name: ``NAME__0.npy``, ``NAME__1.npy``, ...

    Parameters
    ----------
    paths : iterable of path-like
        ``.npy`` or ``.txt`` files, and folders, of which the ``.npy`` files are taken.
    frames_per_snippet : int or None
        Frames of a row.

    Returns
    -------
    list of Video
        In the order of ``paths``; their labels are not known.

    Raises
    ------
    FileNotFoundError
        If a path does not exist, or a folder has no feature file.
    DataError
        If two files are the same crop of one name.
    """
    crops: dict[str, dict[int, Path]] = {}
    for file in _files(paths):
        name, crop = _CROPS.split_crop(file.stem)
        if crop in crops.setdefault(name, {}):
            raise DataError(
                f"{crops[name][crop]} and {file} are both crop {crop} of {name!r}; score them "
                "in two calls, or give a manifest with names of your own"
            )
        crops[name][crop] = file
    return [
        Video(
            name=name,
            features=tuple(FeatureSource(files[crop]) for crop in sorted(files)),
            label=None,
            frames_per_snippet=frames_per_snippet,
        )
        for name, files in crops.items()
    ]


def _files(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(path.glob("*.npy"))
            # Audio features lie beside the video's in some data sets, and are no videos.
            inside = [file for file in inside if not file.stem.endswith("__vggish")]
            if not inside:
                raise FileNotFoundError(f"folder {path} has no .npy file")
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            raise FileNotFoundError(f"{path} does not exist")
    return files


def check_widths(videos: Sequence[Video], feature_dim: int) -> None:
    """Refuse features of another width than the network's before hours of scoring."""
    for video in videos:
        width = feature_shape(video.features[0])[-1]
        if width != feature_dim:
            raise DataError(
                f"{video.features[0]}: features are {width} wide, but the model was trained on "
                f"{feature_dim}; give features from the same extractor"
            )
