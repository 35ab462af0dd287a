"""Bags per second from single files and from a pack: ``python -m benchmarks pack``."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer

from ladnet_fast.data.bags import BagDataset
from ladnet_fast.data.batch_reader import BatchReader
from ladnet_fast.data.manifest import read_manifest

_ROUNDS = 5


def bags_per_second(reader: BatchReader, batches: Sequence[list[int]]) -> float:
    """Read batches one after the other, as training without workers does."""
    start = time.perf_counter()
    for samples in batches:
        reader.__getitems__(samples)
    return sum(map(len, batches)) / (time.perf_counter() - start)


def anonymous_bytes() -> int | None:
    """Return this process's memory without what files are mapped to; None off Linux."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(x.split()[1]) for x in lines if x.startswith("RssAnon")), None)


def forget(dataset: BagDataset) -> None:
    """Ask the system to drop the files from its cache, where it can be asked."""
    for path in {source.path for video in dataset.videos for source in video.features}:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def pack(
    manifest: Annotated[Path, typer.Argument(help="The manifest that was packed.")],
    folder: Annotated[Path, typer.Argument(help="What ladnet-fast pack made of it.")],
    cold: Annotated[
        bool, typer.Option("--cold", help="Drop the files from the system's cache first.")
    ] = False,
) -> None:
    """Time reading in turns from the files and from the pack, and report what stays in memory.

    Example: python -m benchmarks pack train.csv packed
    """
    torch.set_num_threads(1)
    readers = {}
    for name, path in (("files", manifest), ("pack", folder)):
        # The rows of a pack are mapped here already; dropped again they are read from the disk.
        readers[name] = BatchReader(BagDataset(read_manifest(path)))
    count = len(readers["pack"])
    found: dict[str, list[float]] = {name: [] for name in readers}
    before = anonymous_bytes()
    after = None
    for round_ in range(1 if cold else _ROUNDS + 1):
        generator = torch.Generator().manual_seed(round_)
        order = torch.randperm(count, generator=generator).tolist()
        batches = [order[start : start + 128] for start in range(0, count, 128)]
        for name in ("pack", "files"):
            if cold:
                forget(readers[name].dataset)
            found[name].append(bags_per_second(readers[name], batches))
            if name == "pack" and after is None:
                after = anonymous_bytes()
    warm = {name: values if cold else values[1:] for name, values in found.items()}
    medians = {name: statistics.median(values) for name, values in warm.items()}
    size = sum(p.stat().st_size for p in folder.glob("features-*.npy"))
    typer.echo(f"{count} bags of {size / 1e9:.2f} GB")
    for name, value in medians.items():
        every = ", ".join(f"{speed:,.0f}" for speed in found[name])
        typer.echo(f"{name}: {value:,.0f} bags/s (of {every})")
    typer.echo(f"ratio: {medians['pack'] / medians['files']:.1f}")
    if before is not None and after is not None:
        grown = (after - before) / 1e6
        typer.echo(f"anonymous memory after one epoch of the pack: {grown:+.0f} MB")
