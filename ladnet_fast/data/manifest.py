"""The manifest: this package's own list of videos, one CSV row each."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

from .._files import atomic_write_text
from .._values import path as checked_path
from .._values import switch
from ._text import read_text
from .video import (
    FRAMES_PER_SNIPPET,
    Axes,
    DataError,
    FeatureSource,
    Video,
    check_name,
    files_of,
    require_unique_names,
    require_videos,
)

#: What a manifest is called in a folder: of ``extract``, of a pack, of the demo's bags.
MANIFEST = "videos.csv"
REQUIRED = ("video", "features", "label")
OPTIONAL = (
    "class",
    "num_frames",
    "frames_per_snippet",
    "fold",
    "frame_labels",
    "split",
    "query",
    "axes",
)
RATE = "fps"  # extract writes it for people; nothing reads it
NOTES = (RATE,)
EVEN = "even"  # frames_per_snippet of files whose rows share the video's frames evenly
SEPARATOR = ";"


def read_manifest(path: str | os.PathLike[str], *, check_files: bool = True) -> list[Video]:
    """Read a manifest.

    A CSV file whose header has ``video,features,label`` and any of ``class, num_frames,
    frames_per_snippet, fold, frame_labels, split, query, axes``. ``features`` holds one path
    per crop, separated by ``;``; an HDF5 file is ``all.h5::key``, or ``all.h5`` where the key is
    the video's name; rows 120 to 239 of a pack are ``features-0000.npy::120:240``. ``class`` may
    hold several classes separated by ``;``. ``frames_per_snippet`` is a number, ``even`` (see
    `Video`) or empty for 16. ``axes`` is ``"snippets,crops"``, ``"crops,snippets"`` or empty; see
    `Video`. Relative paths start from the manifest's folder. Empty cells mean unknown.

    Parameters
    ----------
    path : path-like
        The CSV file, UTF-8; or a folder with a ``videos.csv``, as packs are.
    check_files : bool
        Look for every file that the manifest names.

    Returns
    -------
    list of Video
        In the order of the rows.

    Raises
    ------
    FileNotFoundError
        If the manifest, or (with ``check_files``) a file it names, does not exist.
    DataError
        If a column or a cell is wrong; the message gives the line.
    """
    path = manifest_in(checked_path("path", path))
    check_files = switch("check_files", check_files)
    text = read_text(path, what="manifest")
    reader = csv.reader(io.StringIO(text), strict=True)
    videos: list[Video] = []
    line_of: dict[str, int] = {}
    header: list[str] | None = None
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if header is None:
                header = _check_header([cell.strip() for cell in row], path)
                continue
            where = f"{path}, line {reader.line_num}"
            if len(row) != len(header):
                raise DataError(
                    f"{where}: {len(row)} cells, but the header has {len(header)} columns "
                    f"({', '.join(header)}); quote a cell that contains a comma"
                )
            cells = dict(zip(header, (cell.strip() for cell in row), strict=True))
            video = _parse_row(cells, path.parent, where)
            if video.name in line_of:
                raise DataError(
                    f"{where}: video {video.name!r} is already on line {line_of[video.name]}; "
                    f"put several crops into one row, separated by '{SEPARATOR}'"
                )
            line_of[video.name] = reader.line_num
            videos.append(video)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not valid CSV: {error}") from error
    if not videos:
        raise DataError(f"manifest {path} names no video; its header must be {_header_help()}")
    if check_files:
        check_files_exist(videos, path, remedy="correct the path: it is relative to the manifest")
    return videos


def manifest_in(path: Path) -> Path:
    """Return the manifest in a folder, as ``pack`` and ``extract`` write it; files as they are.

    Raises
    ------
    FileNotFoundError
        If the folder has none.
    """
    if not path.is_dir():
        return path
    if not (path / MANIFEST).is_file():
        raise FileNotFoundError(
            f"folder {path} doesn't hold a {MANIFEST}: it is neither a pack (ladnet-fast pack) nor "
            "the output of ladnet-fast extract; name a manifest, or a list with --layout"
        )
    return path / MANIFEST


def write_manifest(path: str | os.PathLike[str], videos: Sequence[Video]) -> None:
    """Write ``videos`` as a manifest that `read_manifest` reads back, atomically.

    Paths under the manifest's folder are written relative to it, so that the folder can be
    moved; others are written absolute.

    Raises
    ------
    ValueError
        If ``videos`` is empty, two have one name, or a path or class contains ``;``.
    """
    require_videos(videos)
    require_unique_names(videos)
    path = checked_path("path", path)
    base = Path(os.path.abspath(path.parent))

    def relative(source: FeatureSource | Path | None) -> str:
        if source is None:
            return ""
        file = source.path if isinstance(source, FeatureSource) else source
        file = Path(os.path.abspath(file))
        text = file.relative_to(base).as_posix() if file.is_relative_to(base) else file.as_posix()
        key = source.key if isinstance(source, FeatureSource) else None
        return unseparated(str(FeatureSource(Path(text), key)) if key else text)

    def unseparated(cell: str) -> str:
        if SEPARATOR in cell:
            raise ValueError(f"a manifest can't hold {cell!r}: '{SEPARATOR}' separates entries")
        return cell

    def row(video: Video) -> dict[str, object]:
        per_snippet = video.frames_per_snippet
        return {
            "video": video.name,
            "features": SEPARATOR.join(relative(source) for source in video.features),
            "label": video.label,
            "class": SEPARATOR.join(unseparated(name) for name in video.classes),
            "num_frames": video.num_frames,
            "frames_per_snippet": EVEN if per_snippet is None else per_snippet,
            "fold": video.fold,
            "frame_labels": relative(video.frame_labels),
            "split": video.split,
            "query": relative(video.query),
            "axes": video.axes,
        }

    columns: tuple[str, ...] = REQUIRED + OPTIONAL
    rows = [row(video) for video in videos]
    # Only a few files need the column axes: the others' manifests stay as they were.
    if not any(video.axes for video in videos):
        columns = columns[:-1]
        rows = [{column: cells[column] for column in columns} for cells in rows]
    atomic_write_text(path, manifest_text(columns, rows))


def manifest_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Return the text of a manifest; a cell that is None or absent is empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def check_files_exist(videos: Iterable[Video], listing: Path, *, remedy: str) -> None:
    """Raise FileNotFoundError that counts the missing files and names the first three."""
    missing: list[str] = []
    seen: set[Path] = set()
    for video in videos:
        for file in files_of([video]):
            if file not in seen and not file.is_file():
                missing.append(f"{file} (video {video.name})")
            seen.add(file)
    if missing:
        shown = "\n  ".join(missing[:3])
        more = f"\n  and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise FileNotFoundError(
            f"{listing}: {len(missing)} of {len(seen)} files that it names don't exist:\n"
            f"  {shown}{more}\n{remedy}"
        )


def _header_help() -> str:
    return f"{','.join(REQUIRED)}[,{','.join(OPTIONAL)}]"


def _check_header(header: list[str], path: Path) -> list[str]:
    absent = [name for name in REQUIRED if name not in header]
    unknown = [name for name in header if name not in REQUIRED + OPTIONAL + NOTES]
    double = sorted({name for name in header if header.count(name) > 1})
    for problem, names in (("lacks", absent), ("has unknown", unknown), ("repeats", double)):
        if names:
            raise DataError(
                f"manifest {path}: the header {problem} {', '.join(map(repr, names))}; "
                f"expected {_header_help()}"
            )
    return header


def _parse_row(cells: dict[str, str], base: Path, where: str) -> Video:
    def optional_int(column: str) -> int | None:
        text = cells.get(column, "")
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            raise DataError(f"{where}: {column} must be a whole number; got {text!r}") from None

    def optional_source(column: str) -> FeatureSource | None:
        text = cells.get(column, "")
        return with_default_key(FeatureSource.parse(text, base), name) if text else None

    name, label = cells["video"], cells["label"]
    if label not in ("0", "1", ""):
        raise DataError(
            f"{where}: label must be 0 (normal), 1 (anomalous) or empty (not known); got {label!r}"
        )
    per_snippet: int | None = None
    if cells.get("frames_per_snippet", "") != EVEN:
        per_snippet = optional_int("frames_per_snippet")
        per_snippet = FRAMES_PER_SNIPPET if per_snippet is None else per_snippet
    try:
        check_name(name)
        return Video(
            name=name,
            features=tuple(
                with_default_key(FeatureSource.parse(text.strip(), base), name)
                for text in cells["features"].split(SEPARATOR)
                if text.strip()
            ),
            label=int(label) if label else None,
            classes=tuple(c.strip() for c in cells.get("class", "").split(SEPARATOR) if c.strip()),
            num_frames=optional_int("num_frames"),
            frames_per_snippet=per_snippet,
            fold=optional_int("fold"),
            frame_labels=base / cells["frame_labels"] if cells.get("frame_labels") else None,
            split=cells.get("split") or None,
            query=optional_source("query"),
            axes=cast("Axes | None", cells.get("axes") or None),
        )
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error


def with_default_key(source: FeatureSource, name: str) -> FeatureSource:
    """Give a source in an HDF5 file the video's name as its key, unless it has one."""
    if source.key is None and source.path.suffix.lower() in (".h5", ".hdf5"):
        return FeatureSource(source.path, name)
    return source
