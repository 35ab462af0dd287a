"""Which of several processes this one is, as launchers tell it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

#: Variables of a launcher: how many processes, and which one this is. torchrun and accelerate; Open
#: MPI; MPICH and Intel's; MVAPICH.
_LAUNCHERS = (
    ("WORLD_SIZE", "RANK"),
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("PMI_SIZE", "PMI_RANK"),
    ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
)
_LOCAL = (
    "LOCAL_RANK",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "MPI_LOCALRANKID",
    "MV2_COMM_WORLD_LOCAL_RANK",
)


class LauncherError(ValueError):
    """A launcher's variables are no numbers, or contradict one another."""


class Position(NamedTuple):
    """Process ``rank`` (from 0) of ``size``."""

    rank: int
    size: int


def launched_processes() -> int:
    """Return how many processes the launcher says there are; 1 without one."""
    return max(int(os.environ.get(size) or 1) for size, _ in _LAUNCHERS)


def launched_position() -> Position:
    """Return which process this is, and of how many; without a launcher, process 0 of 1.

    Raises
    ------
    LauncherError
        If a variable is not a number, or the rank is not below the number of processes.
    """
    for size, rank in _LAUNCHERS:
        count = _number(os.environ, size)
        if count is None or count == 1:
            continue
        index = _number(os.environ, rank)
        if index is None or not 0 <= index < count:
            raise LauncherError(
                f"{size} = {count}, so {rank} must be a number from 0 to {count - 1}; got "
                f"{os.environ.get(rank)!r}; start the processes with torchrun, or unset {size}"
            )
        return Position(index, count)
    return Position(0, 1)


def local_index() -> int:
    """Return which of the processes of this machine this is, from 0."""
    return next((n for name in _LOCAL if (n := _number(os.environ, name)) is not None), 0)


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name)
    if not text:
        return None
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise LauncherError(f"{name} must be a number of at least 0; got {text!r}; unset it")
    return number
