"""Writing a ``.npy`` file of (T, D) float32 row by row, before T is known."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt


class FeatureFile:
    """A ``.npy`` file that grows along its first axis.

    A context manager. NumPy pads the header of such a file so that its length stays when the
    first axis grows; so the header is written for no rows first, and again at the end.

    Parameters
    ----------
    path : Path
        The file to write. Use it with `ladnet_fast._files.atomic_path`.
    width : int
        D, the number of columns.
    """

    def __init__(self, path: Path, width: int) -> None:
        self.width, self.rows = width, 0
        self._file = path.open("wb")
        self._write_header()
        self._start = self._file.tell()

    def append(self, rows: npt.NDArray[np.float32]) -> None:
        """Append ``rows`` (n, D) float32."""
        if rows.ndim != 2 or rows.shape[1] != self.width or rows.dtype != np.float32:
            raise ValueError(
                f"rows must be float32 of shape (n, {self.width}); got {rows.dtype} {rows.shape}"
            )
        self._file.write(np.ascontiguousarray(rows, dtype="<f4").tobytes())
        self.rows += len(rows)

    def __enter__(self) -> FeatureFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._file:
            if error is None:
                self._file.seek(0, os.SEEK_SET)
                self._write_header()
                assert self._file.tell() == self._start, "NumPy's header grew over the rows"

    def _write_header(self) -> None:
        shape = (self.rows, self.width)
        np.lib.format.write_array_header_1_0(
            self._file, {"descr": "<f4", "fortran_order": False, "shape": shape}
        )


def stored_rows(path: Path, width: int | None) -> int | None:
    """Return T of a complete ``.npy`` file of (T, ``width``) float32, None for anything else.

    ``width`` None: of any width.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    fits = array.ndim == 2 and width in (None, array.shape[1]) and array.dtype == np.float32
    return len(array) if fits else None
