"""A folder of results that appears when it is complete, and replaces only one of its own kind."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ladnet_fast.demo.errors import DemoError


def require_replaceable(folder: Path, *, marks: Sequence[str]) -> None:
    """Refuse a folder whose content is not ours.

    Parameters
    ----------
    folder : Path
        May be absent.
    marks : sequence of str
        Files that earlier results have.

    Raises
    ------
    DemoError
        If it is a file, or holds something and not all of ``marks``.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DemoError(f"{folder} is a file; name a folder for the results with --out")
    if any(folder.iterdir()) and not all((folder / name).exists() for name in marks):
        raise DemoError(
            f"{folder} is not empty and holds no earlier demo; name another folder with --out"
        )


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside ``folder`` that takes its place when the block ends well.

    When it raises, the new folder is removed and ``folder`` is untouched.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        work, old = Path(scratch) / "new", Path(scratch) / "old"
        work.mkdir()
        yield work
        if folder.exists():
            folder.rename(old)
        try:
            work.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
