"""What the user wants scored: feature files, folders, patterns and video files."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .._records import record_of
from .._wording import first_few
from ..data import LAYOUTS, DataError, FeatureSource, Video, feature_width, read_manifest
from ..data._list_files import QUERY_SUFFIX
from ..data.manifest import MANIFEST
from ..video.not_video import explain_not_a_video
from ..video.sources import Footage, find_footage, matches, videos_in

FEATURE_SUFFIXES = (".npy", ".txt")
_CROPS = LAYOUTS["ucf-i3d"]  # NAME.npy or NAME__0.npy, then NAME__1.npy, NAME__2.npy, ...


@dataclass(slots=True)
class Inputs:
    """What was found, in the order in which it was named.

    Attributes
    ----------
    videos : list of Video
        With features; labels are those of a manifest, or not known.
    footage : list of Footage
        Video files whose features are still to be extracted.
    manifests : list of Path
        Manifests that were read because their folder was named.
    notes : list of str
        What a user should know: for example which files were left out.
    """

    videos: list[Video] = field(default_factory=list)
    footage: list[Footage] = field(default_factory=list)
    manifests: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_inputs(
    paths: Iterable[str | os.PathLike[str]], *, frames_per_snippet: int | None = 16
) -> Inputs:
    """Find what files, folders and patterns hold: features, or videos to extract them from.

    Parameters
    ----------
    paths : iterable of path-like
        A feature file (``.npy``, ``.txt``; crops are grouped by name), a video file, a pattern of
        either in quotes, or a folder. A folder with a manifest ``videos.csv``, as ``extract``
        writes it, gives the videos of the manifest; any other folder gives its ``.npy`` files, or
        the videos in it and in its subfolders.
    frames_per_snippet : int or None
        Frames of a row of feature files; a manifest has its own.

    Raises
    ------
    FileNotFoundError
        If a path does not exist, or a folder or pattern gives nothing.
    DataError
        If a folder holds features and videos, two files are the same crop of one name, or crops are
        not numbered from 0; from a manifest.
    """
    found = Inputs()
    files: list[Path] = []
    for given in paths:
        path = Path(given)
        if path.is_dir():
            _look_into(path, found, files)
        elif path.exists():
            _sort(path, Footage(path, path.stem), found, files)
        elif (problem := explain_not_a_video(given)) is not None:  # an address
            raise DataError(problem)
        elif glob.has_magic(os.fspath(given)):
            named = {footage.path: footage for footage in find_footage([given])}
            for file in matches(path):
                _sort(file, named[file], found, files)
        else:
            raise FileNotFoundError(f"{path} does not exist")
    # An input that is named twice, by itself and by its folder, counts once.
    found.footage, files = list(dict.fromkeys(found.footage)), list(dict.fromkeys(files))
    found.videos += videos_from_features(files, frames_per_snippet=frames_per_snippet)
    return found


def videos_from_features(
    paths: Iterable[str | os.PathLike[str]], *, frames_per_snippet: int | None = 16
) -> list[Video]:
    """Make videos of feature files, crops grouped by name: ``NAME__0.npy``, ``NAME__1.npy``, ...

    The records of files that ``extract`` wrote say what they are: ``cam__1.npy`` and ``cam__2.npy``
    of two videos ``cam__1.mp4`` and ``cam__2.mp4`` stay two videos.

    Parameters
    ----------
    paths : iterable of path-like
        ``.npy`` or ``.txt`` files.
    frames_per_snippet : int or None
        Frames of a row.

    Returns
    -------
    list of Video
        In the order of ``paths``; their labels are not known.

    Raises
    ------
    FileNotFoundError
        If a path does not exist.
    DataError
        If two files are the same crop of one name, or the crops of a name are not numbered from 0.
    """
    crops: dict[str, dict[int, Path]] = {}
    for file in map(Path, paths):
        if not file.is_file():
            raise FileNotFoundError(f"{file} does not exist or is not a file")
        name, crop = _name_and_crop(file)
        if crop in crops.setdefault(name, {}):
            raise DataError(
                f"{crops[name][crop]} and {file} are both crop {crop} of {name!r}; score them "
                "in two calls, or give a manifest with names of your own"
            )
        crops[name][crop] = file
    for name, of_name in crops.items():
        if sorted(of_name) != list(range(len(of_name))):
            numbers = sorted(of_name)
            absent = min(set(range(numbers[-1])) - set(numbers))
            raise DataError(
                f"{', '.join(str(of_name[crop]) for crop in numbers)}: by name crops "
                f"{', '.join(map(str, numbers))} of {name!r}, but there is no crop {absent}; name "
                "all crops, or give a manifest that says which file is which video"
            )
    return [
        Video(
            name=name,
            features=tuple(FeatureSource(files[crop]) for crop in sorted(files)),
            label=None,
            frames_per_snippet=frames_per_snippet,
        )
        for name, files in crops.items()
    ]


def width_problem(video: Video, feature_dim: int) -> str | None:
    """Say what is wrong where features have another width than the network; reads a header.

    Raises
    ------
    DataError, FileNotFoundError
        From a feature file.
    """
    width = feature_width(video)
    if width == feature_dim:
        return None
    return (
        f"{video.features[0]}: features are {width} wide, but the model was trained on "
        f"{feature_dim}; give features from the same extractor"
    )


def check_widths(videos: Sequence[Video], feature_dim: int) -> None:
    """Raise DataError where features have another width than the network."""
    for video in videos:
        if problem := width_problem(video, feature_dim):
            raise DataError(problem)


def _look_into(folder: Path, found: Inputs, files: list[Path]) -> None:
    inside = sorted(file for file in folder.glob("*.npy") if not file.name.startswith("."))
    # Audio features lie beside the video's in some data sets, and are no videos.
    inside = [file for file in inside if not file.stem.endswith(QUERY_SUFFIX)]
    manifest = folder / MANIFEST
    if manifest.is_file():
        videos = read_manifest(manifest, check_files=False)
        found.videos += videos
        found.manifests.append(manifest)
        named = {_place(path) for path in {source.path for v in videos for source in _sources(v)}}
        left = [file.name for file in inside if _place(file) not in named]
        if left:
            found.notes.append(
                f"{folder} is read by its manifest {MANIFEST}, which does not name "
                f"{first_few(left)}: left out; name the files themselves to score them"
            )
        return
    footage = videos_in(folder)
    if inside and footage:
        raise DataError(
            f"{folder} holds feature files ({inside[0].name}) and video files ({footage[0].name}); "
            f"say which you mean with a pattern in quotes: '{folder}/*.npy' or "
            f"'{folder}/**/*{footage[0].suffix}'"
        )
    if footage:
        found.footage += find_footage([folder])
    elif inside:
        files += inside
    else:
        raise FileNotFoundError(
            f"folder {folder} has no .npy file, no {MANIFEST} and no video file"
        )


def _sources(video: Video) -> tuple[FeatureSource, ...]:
    return video.features if video.query is None else (*video.features, video.query)


def _sort(path: Path, footage: Footage, found: Inputs, files: list[Path]) -> None:
    if path.suffix.lower() in FEATURE_SUFFIXES:
        files.append(path)
    else:
        found.footage.append(footage)


def _name_and_crop(file: Path) -> tuple[str, int]:
    record = record_of(file)
    if record is not None and record.made.get("kind") == "features":
        crop = int(record.made["crop"])
        alone = record.made["settings"]["crops"] == 1
        return (file.stem, 0) if alone else (file.stem.removesuffix(f"__{crop}"), crop)
    return _CROPS.split_crop(file.stem)


def _place(path: Path) -> str:
    return os.path.realpath(path)
