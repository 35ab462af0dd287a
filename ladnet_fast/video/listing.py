"""The manifest of extracted videos: ``videos.csv`` beside the feature files."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .._files import atomic_write_text
from .._locks import folder_lock
from ..data.manifest import MANIFEST, RATE, SEPARATOR, manifest_text

COLUMNS = ("video", "features", "label", "num_frames", "frames_per_snippet")
QUERY = "query"
_Rows = dict[str, dict[str, str]]


class Listing:
    """Rows of a manifest, kept in the order in which videos were added.

    The file is read again, and written, at every change, while other processes wait. So rows that
    they added, labels that somebody filled in meanwhile, and columns of the user's own all stay.

    Parameters
    ----------
    folder : Path
        The folder of the manifest; paths in it are relative to this folder.
    may_replace : callable
        Tells whether a feature file that a row names may be dropped from it for others.
    frames_per_snippet : int
        Frames per snippet of the features that are listed.

    Raises
    ------
    ValueError
        If a file of that name is there and is not a manifest.
    """

    def __init__(
        self,
        folder: Path,
        *,
        may_replace: Callable[[Path], bool] = lambda _: True,
        frames_per_snippet: int = 16,
    ) -> None:
        self.path, self._frames_per_snippet = folder / MANIFEST, frames_per_snippet
        self._may_replace = may_replace
        self._read()

    def check(self, names: Mapping[str, Sequence[Path]]) -> None:
        """Raise ValueError where a video's row names other features that must not be replaced."""
        _, rows = self._read()
        for name, features in names.items():
            self._check_row(rows.get(name, {}), name, self._cell(features))

    def features(self) -> list[Path]:
        """Return every feature file that a row names, whether it is there or not."""
        _, rows = self._read()
        cells = (row.get("features", "") for row in rows.values())
        return [self.path.parent / part for cell in cells for part in cell.split(SEPARATOR) if part]

    def put(
        self,
        name: str,
        features: Sequence[Path],
        num_frames: int | None,
        fps: float | None = None,
        query: Path | None = None,
    ) -> None:
        """Add or update one video and write the file; ``num_frames`` None keeps what was known.

        ``query`` is the file of the second modality; None keeps what is there.

        ``fps`` is the rate of a video whose frames were chosen by time: ``num_frames`` counts those
        then, and the rate stands in a column ``fps``.

        Raises
        ------
        ValueError
            If the file is not a manifest any more, or the row names features of somebody else.
        """
        with folder_lock(self.path.parent, "listing", wait=-1):
            columns, rows = self._read()
            row = rows.setdefault(name, {"label": ""})
            self._check_row(row, name, self._cell(features))
            row["video"], row["features"] = name, self._cell(features)
            row["frames_per_snippet"] = str(self._frames_per_snippet)
            if num_frames is not None:
                row["num_frames"] = str(num_frames)
            if fps is not None or row.get(RATE):
                row[RATE] = "" if fps is None else f"{fps:.12g}"
                columns += [RATE] if RATE not in columns else []
            if query is not None:
                row[QUERY] = self._cell([query])
                columns += [QUERY] if QUERY not in columns else []
            text = manifest_text(columns, rows.values())
            if not self.path.is_file() or self.path.read_bytes() != text.encode():
                atomic_write_text(self.path, text)

    def _cell(self, features: Sequence[Path]) -> str:
        return SEPARATOR.join(path.relative_to(self.path.parent).as_posix() for path in features)

    def _check_row(self, row: Mapping[str, str], name: str, cell: str) -> None:
        before = row.get("features", "")
        files = [self.path.parent / part for part in before.split(SEPARATOR) if part]
        if before != cell and not all(map(self._may_replace, files)):
            raise ValueError(
                f"{self.path}: the row of {name!r} names other features, {before}; correct or "
                "remove the row, extract into another folder, or replace them (--overwrite, "
                "overwrite=True)"
            )

    def _read(self) -> tuple[list[str], _Rows]:
        if not self.path.exists():
            return list(COLUMNS), {}
        remedy = "move it away or extract into another folder"
        try:
            with self.path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                header, lines = list(reader.fieldnames or ()), list(reader)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{self.path} is not a CSV file: {error}; {remedy}") from error
        except IsADirectoryError as error:
            raise ValueError(f"{self.path} is a folder; {remedy}") from error
        if absent := [column for column in COLUMNS[:3] if column not in header]:
            raise ValueError(
                f"{self.path} is not a manifest: it has no column {', '.join(absent)}; {remedy}"
            )
        rows: _Rows = {}
        for line, row in enumerate(lines, start=2):
            if None in row or None in row.values():
                raise ValueError(
                    f"{self.path}, row {line}: a row must have {len(header)} cells, as the header "
                    f"has; {remedy}"
                )
            if row["video"] in rows:
                raise ValueError(
                    f"{self.path}, row {line}: {row['video']!r} is there twice; remove one of the "
                    "rows"
                )
            rows[row["video"]] = row
        return header + [column for column in COLUMNS if column not in header], rows
