"""Writing files so that a reader sees the old content or the new, and where caches lie."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it when the block ends well.

    The temporary file keeps the suffix, so libraries that look at it (``numpy.save``,
    ``matplotlib``) behave as with the final name. Parent folders are created. When the block
    raises, the temporary file is removed and ``path`` is untouched.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(
        dir=target.parent, prefix=f".{target.name}.", suffix=target.suffix
    )
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; give the result the permissions any other file would have.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def cache_folder(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of what is fetched or measured once; it need not exist yet.

    ``cache_dir`` if given, else the environment variable LADNET_CACHE, else ``ladnet_fast`` in
    XDG_CACHE_HOME, else ``~/.cache/ladnet_fast``.
    """
    if cache_dir is not None:
        return Path(cache_dir)
    if chosen := os.environ.get("LADNET_CACHE"):
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "ladnet_fast"
