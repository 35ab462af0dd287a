"""A folder of results that appears when it is complete, and replaces only one of its own kind."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .._files import atomic_write_text, remove_leftovers, sha256_of, temporary_folder
from .._locks import STATE
from .._wording import first_few
from .errors import DemoError

#: Lists the files of a folder of results: size, time and hash of each.
CONTENTS = f"{STATE}/demo.json"
#: Files that file managers leave in folders.
_DROPPINGS = {".DS_Store", "Thumbs.db", "desktop.ini"}


def require_apart(folder: Path, inputs: Iterable[str | os.PathLike[str]], cache: Path) -> None:
    """Refuse a folder for results that holds what is read: replacing it would delete that.

    Parameters
    ----------
    folder : Path
        Where the results go.
    inputs : iterable of path-like
        The videos. Both a link's own place and that of its target count.
    cache : Path
        Folder of the cache.

    Raises
    ------
    DemoError
        If one of them is ``folder`` itself or inside.
    """
    for what, paths in (("the video", inputs), ("the cache", [cache])):
        for path in map(Path, paths):
            lies_in = Path(os.path.abspath(path)).parent
            if _is_inside(path, folder) or _is_inside(lies_in, folder):
                raise DemoError(
                    f"{what} {path} lies in {folder}, and a new demo replaces all that is there; "
                    "name another folder with --out"
                )


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
        If it is a file, or holds something and not all of ``marks``, or holds a file that
        `list_contents` did not list, or that was changed since.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DemoError(f"{folder} is a file; name a folder for the results with --out")
    if not any(folder.iterdir()):
        return
    if not all((folder / name).exists() for name in (*marks, CONTENTS)):
        raise DemoError(
            f"{folder} is not empty and holds no earlier demo, or one without "
            f"{CONTENTS}, the list of its files; name another folder with --out"
        )
    if foreign := _foreign(folder):
        raise DemoError(
            f"{folder} holds an earlier demo, but also files that it did not write, or that were "
            f"changed since: {first_few(foreign)}; a new demo would delete them: "
            "move them elsewhere, or name another folder with --out"
        )


def list_contents(folder: Path) -> None:
    """Write the list of all files in ``folder`` by which `require_replaceable` knows them."""
    listed = {
        name: [path.stat().st_size, path.stat().st_mtime_ns, sha256_of(path)]
        for name, path in _files(folder)
    }
    atomic_write_text(folder / CONTENTS, json.dumps(listed, indent=1) + "\n")


@contextmanager
def replacing(folder: Path, *, marks: Sequence[str]) -> Iterator[Path]:
    """Yield a new folder beside ``folder`` that takes its place when the block ends well.

    When it raises, the new folder is removed and ``folder`` is untouched. What a killed process
    left is removed first, or put into its place where it was complete.

    Parameters
    ----------
    folder : Path
        See `require_replaceable`, which is asked again at the end.
    marks : sequence of str
        Files that earlier results have.

    Raises
    ------
    DemoError
        If ``folder`` can't be replaced.
    """
    folder = Path(os.path.realpath(folder))  # what a link points to is replaced, not the link
    folder.parent.mkdir(parents=True, exist_ok=True)
    _finish(folder)
    remove_leftovers(folder.parent)
    with temporary_folder(folder.parent) as scratch:
        work, old = (scratch / kind / folder.name for kind in ("new", "old"))
        work.mkdir(parents=True)
        old.parent.mkdir()
        yield work
        list_contents(work)
        require_replaceable(folder, marks=marks)
        if folder.exists():
            folder.rename(old)
        try:
            work.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise


def _finish(folder: Path) -> None:
    """Finish the work of a process that was killed between two renames.

    The earlier results are moved away only when the new ones are complete.
    """
    if folder.exists():
        return
    for scratch in folder.parent.glob(".ladnet-*.part"):
        work, old = (scratch / kind / folder.name for kind in ("new", "old"))
        if old.exists() and work.exists():
            work.rename(folder)
            return


def _foreign(folder: Path) -> list[str]:
    try:
        listed = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))
        known = {
            name: (int(size), int(time), sha256) for name, (size, time, sha256) in listed.items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise DemoError(
            f"{folder / CONTENTS}, the list of an earlier demo's files, is damaged ({error}); name "
            f"another folder with --out, or delete {folder} if you don't need what it holds"
        ) from error
    foreign = []
    for name, path in _files(folder):
        size, time, sha256 = known.get(name, (None, None, None))
        status = path.lstat()
        same = status.st_size == size and not path.is_symlink()
        if not same or (status.st_mtime_ns != time and sha256_of(path) != sha256):
            foreign.append(name)
    return foreign


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and path of everything in ``folder`` that is no folder and may matter to a user.

    The state that this package's commands keep is left out.
    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if STATE in name.parts or name.name in _DROPPINGS:
            continue
        if path.is_symlink() or not path.is_dir():
            yield name.as_posix(), path


def _is_inside(path: Path, folder: Path) -> bool:
    """Tell whether ``path`` is ``folder`` or in it, by any name that the system has for them."""
    path, folder = (Path(os.path.realpath(place)) for place in (path, folder))
    if path.is_relative_to(folder):
        return True
    return folder.exists() and any(
        place.exists() and place.samefile(folder) for place in (path, *path.parents)
    )
