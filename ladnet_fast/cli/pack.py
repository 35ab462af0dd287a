"""``ladnet-fast pack``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from . import _options as opt
from ._console import help_text, progress_bar, say

if TYPE_CHECKING:
    from ..data.pack.format import Dtype, PackInfo

_DTYPES = ("float32", "float16", "bfloat16")
_EXAMPLE = """
[bold]Examples[/]

ladnet-fast pack videos.csv --out packed

ladnet-fast pack train.list --layout ucf-i3d --out packed --dtype float16

ladnet-fast check packed

ladnet-fast train packed --out runs/first --set training.token_budget=25600
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("pack", help=help_text(command), epilog=_EXAMPLE)(command)


@opt.takes_lists()
def command(
    videos: Annotated[Path, typer.Argument(help="Manifest (.csv), or a list with --layout.")],
    out: Annotated[Path, typer.Option(help="Folder of the pack.")],
    dtype: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(_DTYPES)}; the last two halve the size, and round the features."
        ),
    ] = "float32",
    shard_size: Annotated[
        float, typer.Option(metavar="GIB", help="Largest size of a file, in GiB.")
    ] = 4.0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that ladnet-fast did not write.")
    ] = False,
    split: opt.Split = None,
    *,
    lists: opt.ListOptions,
) -> None:
    """Put the features of a data set into a few files that training maps into memory.

    The folder may then be given wherever a manifest is: labels, splits, folds, crops, queries and
    ground truth carry over. A call that was interrupted goes on where it stopped; a call whose
    inputs have not changed has nothing to do.
    """
    if dtype not in _DTYPES:
        raise typer.BadParameter(f"--dtype must be one of {', '.join(_DTYPES)}; got {dtype!r}")
    if not 0 < shard_size < 1 << 30:
        raise typer.BadParameter(
            f"--shard-size must be greater than 0 and less than {1 << 30} GiB; got {shard_size}"
        )
    from ..data.pack.write import write_pack

    lists = dataclasses.replace(lists, every_split=True)
    chosen = lists.read(videos, split=split, labels="optional")
    with progress_bar("packing") as progress:
        info = write_pack(
            chosen, out, dtype=cast("Dtype", dtype), shard_bytes=int(shard_size * (1 << 30)),
            inputs=[videos, *lists.files()], overwrite=overwrite, progress=progress,
        )  # fmt: skip
    _report(out, info)


def _report(out: Path, info: PackInfo) -> None:
    size = sum(shard.bytes for shard in info.shards.values())
    files = f"{len(info.shards)} file{'s' * (len(info.shards) != 1)}"
    say(f"{out}: {info.videos:,} videos, {info.rows:,} rows, {size / 1e9:.2f} GB in {files}")
    if info.dtype != "float32":
        say(
            f"{info.dtype} changes a row by {info.error['mean']:.2g} of its length on average, "
            f"{info.error['largest']:.2g} at most"
        )
    say(f"compare every byte, for example after copying it: ladnet-fast check {out}")
