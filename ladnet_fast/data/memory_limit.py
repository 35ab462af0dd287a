"""How many bytes of features stay in memory: small sets are read once, large ones every epoch."""

from __future__ import annotations

import importlib.util
from pathlib import Path

#: More than this is never kept unless the user asks for it.
MOST_BYTES = 2 << 30
_CGROUP = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


class MemoryLimit:
    """Bytes that may still be kept; several holders may share one limit.

    Parameters
    ----------
    limit : int
        Bytes in all.
    """

    def __init__(self, limit: int) -> None:
        self.left = limit

    def take(self, size: int) -> bool:
        """Tell whether ``size`` more bytes may be kept; if so they count from now on."""
        if size > self.left:
            return False
        self.left -= size
        return True


def spare_bytes(processes: int = 1) -> int:
    """Return how many bytes each of some processes on this machine may keep without harm.

    At most 2 GiB, and at most a quarter of the memory that is free now, for all of them together.
    """
    left = [room for room in (_free_bytes(), _cgroup_bytes()) if room is not None]
    return max(0, min([MOST_BYTES, *(room // 4 for room in left)])) // processes


def _free_bytes() -> int | None:
    if importlib.util.find_spec("psutil") is None:
        return None
    import psutil

    return int(psutil.virtual_memory().available)


def _cgroup_bytes() -> int | None:
    """Return what a container or a batch system leaves to this process; None without a limit."""
    try:
        lines = _OWN.read_text().splitlines()
    except OSError:
        return None  # another system
    inside = next((line[3:] for line in lines if line.startswith("0::")), "/")
    own = _CGROUP / inside.strip("/")
    left = [
        room
        for folder in (own, *own.parents)
        if folder.is_relative_to(_CGROUP)
        and (room := _room(folder / "memory.max", folder / "memory.current")) is not None
    ]
    old = _CGROUP / "memory"
    room = _room(old / "memory.limit_in_bytes", old / "memory.usage_in_bytes")
    return min([*left, *([] if room is None else [room])], default=None)


def _room(limit: Path, used: Path) -> int | None:
    try:
        return int(limit.read_text()) - int(used.read_text())
    except (OSError, ValueError):  # no such file, or no limit, which reads "max"
        return None
