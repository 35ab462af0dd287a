"""The manifest of extracted videos: ``videos.csv`` beside the feature files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ladnet_fast._files import atomic_write_text
from ladnet_fast.video.i3d import SNIPPET_FRAMES

MANIFEST = "videos.csv"
COLUMNS = ("video", "features", "label", "num_frames", "frames_per_snippet")


class Listing:
    """Rows of a manifest, kept in the order in which videos were added.

    Rows and columns that are there already stay: labels, folds or splits that somebody filled in
    survive later extractions into the same folder.

    Parameters
    ----------
    folder : Path
        The folder of the manifest; paths in it are relative to this folder.

    Raises
    ------
    ValueError
        If a file of that name is there and is not a manifest.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / MANIFEST
        self.columns = list(COLUMNS)
        self.rows: dict[str, dict[str, str]] = {}
        if self.path.exists():
            self._read()

    def put(self, name: str, features: Sequence[Path], num_frames: int | None) -> None:
        """Add or update one video; ``num_frames`` None keeps what was known."""
        row = self.rows.setdefault(name, {"label": ""})
        row["video"] = name
        row["features"] = ";".join(
            path.relative_to(self.path.parent).as_posix() for path in features
        )
        row["frames_per_snippet"] = str(SNIPPET_FRAMES)
        if num_frames is not None:
            row["num_frames"] = str(num_frames)

    def write(self) -> None:
        """Write the manifest atomically."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows.values())
        atomic_write_text(self.path, text.getvalue())

    def _read(self) -> None:
        remedy = "move it away or extract into another folder"
        with self.path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            try:
                header, rows = list(reader.fieldnames or ()), list(reader)
            except (csv.Error, UnicodeDecodeError) as error:
                raise ValueError(f"{self.path} is not a CSV file: {error}; {remedy}") from error
        if absent := [column for column in COLUMNS[:3] if column not in header]:
            raise ValueError(
                f"{self.path} is not a manifest: it has no column {', '.join(absent)}; {remedy}"
            )
        self.columns = header + [column for column in COLUMNS if column not in header]
        for line, row in enumerate(rows, start=2):
            if None in row or None in row.values():
                raise ValueError(
                    f"{self.path}, row {line}: the header has {len(header)} cells, this row has "
                    f"another number; {remedy}"
                )
            if row["video"] in self.rows:
                raise ValueError(f"{self.path}, row {line}: {row['video']!r} is there twice")
            self.rows[row["video"]] = row
