"""Sharing a command's videos among processes and machines: each video goes to exactly one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console

from .._launchers import launched_position, local_index
from ._console import say

ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Do part I of N (1/N to N/N), with one process or job per part. Start all of them "
        "with the same inputs and the same --out.",
        show_default="what torchrun or MPI says, else all",
    ),
]


@dataclass(frozen=True, slots=True)
class Shard:
    """Part ``index`` (from 0) of ``count``."""

    index: int = 0
    count: int = 1

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"

    def names(self, names: Iterable[str]) -> set[str]:
        """Return this part of ``names``: the same in every process, whatever their order.

        The names are put in the order of their hashes and dealt out one after the other. So parts
        differ by one video at most, and names that are neighbours in the alphabet (of one camera,
        of one time of day) are spread over the parts.
        """
        ordered = sorted(set(names), key=lambda name: hashlib.sha256(_bytes(name)).digest())
        return set(ordered[self.index :: self.count])


def chosen_shard(text: str | None) -> Shard:
    """Return the part that ``--shard`` and the launcher give this process.

    With both, each of the N parts is shared among the processes that its launcher started.
    """
    process = launched_position()
    if text is None:
        return Shard(process.rank, process.size)
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip())
    index, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= index <= count:
        raise typer.BadParameter(
            f"--shard must be I/N with I from 1 to N, such as 1/4; got {text!r}"
            + ("; parts are counted from 1" if match and not index else "")
        )
    return Shard((index - 1) * process.size + process.rank, count * process.size)


def own_device(device: str) -> str:
    """Spread the processes that a launcher started on this machine over its GPUs."""
    if device != "cuda" or launched_position().size == 1:
        return device
    import torch

    return f"cuda:{local_index() % torch.cuda.device_count()}"


def summarise(shard: Shard, *, total: int, done: int, there: int, failed: int) -> None:
    """Print what became of this process's part; nothing where it did all."""
    if shard.count == 1:
        return
    own = done + there + failed
    # Every process prints this; other messages come from a launcher's first process only.
    say(
        f"part {shard}: {own} of {total} videos: {done} done, {there} were there, {failed} failed",
        to=Console(emoji=False, highlight=False),
    )


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
