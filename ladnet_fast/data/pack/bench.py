"""Bags per second from single files and from a pack, in turns, and what stays in memory.

python -m ladnet_fast.data.pack.bench MANIFEST PACK [--cold]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from ..bags import BagDataset
from ..batch_reader import BatchReader
from ..manifest import read_manifest

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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--cold", action="store_true", help="drop the files from the cache first")
    given = parser.parse_args()
    torch.set_num_threads(1)
    readers = {}
    for name, path in (("files", given.manifest), ("pack", given.pack)):
        # The rows of a pack are mapped here already; dropped again they are read from the disk.
        readers[name] = BatchReader(BagDataset(read_manifest(path)))
    count = len(readers["pack"])
    found: dict[str, list[float]] = {name: [] for name in readers}
    before = anonymous_bytes()
    after = None
    for round_ in range(1 if given.cold else _ROUNDS + 1):
        generator = torch.Generator().manual_seed(round_)
        order = torch.randperm(count, generator=generator).tolist()
        batches = [order[start : start + 128] for start in range(0, count, 128)]
        for name in ("pack", "files"):
            if given.cold:
                forget(readers[name].dataset)
            found[name].append(bags_per_second(readers[name], batches))
            if name == "pack" and after is None:
                after = anonymous_bytes()
    warm = {name: values if given.cold else values[1:] for name, values in found.items()}
    medians = {name: statistics.median(values) for name, values in warm.items()}
    size = sum(p.stat().st_size for p in given.pack.glob("features-*.npy"))
    print(f"{count} bags of {size / 1e9:.2f} GB")
    for name, value in medians.items():
        print(f"{name}: {value:,.0f} bags/s (of {', '.join(f'{v:,.0f}' for v in found[name])})")
    print(f"ratio: {medians['pack'] / medians['files']:.1f}")
    if before is not None and after is not None:
        print(f"anonymous memory after one epoch of the pack: {(after - before) / 1e6:+.0f} MB")


if __name__ == "__main__":
    main()
