"""Writing files so that a reader sees the old content or the new, and where caches lie."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import platform
import re
import secrets
import shutil
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Folder inside a folder of results for what this package needs to know about its own files.
STATE = ".ladnet"
_LEFTOVER = re.compile(r"\.ladnet-([0-9a-f]{8})-(\d+)-[0-9a-f]{12}\.part")
_DAY = 86_400.0


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it when the block ends well.

    The temporary file is empty at first, and its short name matches no input: it begins with
    ``.ladnet-`` and ends in ``.part``, so a writer that looks at suffixes (``numpy.save``,
    ``matplotlib``) needs an open file or a format. Parent folders are created. When the block
    raises, the temporary file is removed and ``path`` is untouched. What a killed process leaves
    behind, `remove_leftovers` removes.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / _temporary_name()
    # The mode is that of any new file: the system itself applies the process's umask.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(target)
    except OSError as error:
        # A full disk's error names no file, and the temporary file's name means nothing to users.
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror, str(target)) from error
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def temporary_folder(parent: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new folder in ``parent`` that is removed at the end, with all that it holds.

    Its name is of the kind that `atomic_path` uses, so that `remove_leftovers` knows
    it after a kill.
    """
    folder = Path(parent) / _temporary_name()
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove what killed processes left half written in ``folder``, and in its records.

    Only names that this package gives to temporary files count; other subfolders are not searched.
    A file of a process that still runs stays. So does, for a day, a file that another machine wrote
    into a shared folder: from here nobody can tell whether its process runs.
    """
    for place in (folder, os.path.join(folder, STATE)):
        if os.path.isdir(place):
            _remove_leftovers(place)


def _remove_leftovers(folder: str | os.PathLike[str]) -> None:
    with os.scandir(folder) as entries:
        found = [(entry, match) for entry in entries if (match := _LEFTOVER.fullmatch(entry.name))]
    for entry, match in found:
        try:
            written = entry.stat(follow_symlinks=False).st_mtime
            if match[1] != _node():
                stale = time.time() - written > _DAY
            else:
                stale = not _runs_since(int(match[2]), written)
            if stale and entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry)
            elif stale:
                os.unlink(entry)
        except FileNotFoundError:
            continue  # its process has just finished, or another one tidied up at the same time
        except PermissionError:
            continue  # another user's, in a shared folder: theirs to remove


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's content in hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def cache_folder(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of what is downloaded or computed once, absolute; it may not exist yet.

    ``cache_dir`` if given, else the environment variable LADNET_CACHE, else ``ladnet_fast`` in
    XDG_CACHE_HOME, else ``~/.cache/ladnet_fast``.
    """
    chosen = cache_dir or os.environ.get("LADNET_CACHE")
    if not chosen:
        home = os.environ.get("XDG_CACHE_HOME")
        chosen = (Path(home) if home else Path.home() / ".cache") / "ladnet_fast"
    # Absolute, because other programs are started in other folders.
    return Path(os.path.abspath(Path(chosen).expanduser()))


def _temporary_name() -> str:
    return f".ladnet-{_node()}-{os.getpid()}-{secrets.token_hex(6)}.part"


def _node() -> str:
    """Eight digits for this machine, so that a shared folder tells whose process wrote a file."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _runs_since(pid: int, moment: float) -> bool:
    """Tell whether process ``pid`` of this machine runs and already did at ``moment``."""
    if importlib.util.find_spec("psutil") is not None:
        import psutil

        try:
            # A number is used again: a process that began after the file did not write it. The
            # two clocks may differ by some hundredths of a second.
            return bool(psutil.Process(pid).create_time() <= moment + 1)
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True
    if os.name != "posix":
        return True  # os.kill would end the process there
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno != errno.ESRCH
    return True
