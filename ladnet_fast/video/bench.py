"""How fast I3D runs here: ``python -m ladnet_fast.video.bench``."""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from .._allocator import keep_freed_memory
from .features import snippet_features
from .i3d import CROP_SIZE, I3D, SNIPPET_FRAMES


def frames_per_second(model: I3D, *, batch: int = 2, repeats: int = 9) -> float:
    """Frames of 224 x 224 that `snippet_features` describes per second, decoding left out.

    The median over ``repeats`` passes of one batch of random frames, after two to warm up.

    Parameters
    ----------
    model : I3D
        On any device; the copy back to the CPU waits for a GPU.
    batch : int
        Snippets in a batch.
    repeats : int
        Timed passes.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (batch * SNIPPET_FRAMES, CROP_SIZE, CROP_SIZE, 3)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    seconds = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        snippet_features(model, frames, batch=batch)
        seconds.append(time.perf_counter() - start)
    return len(frames) / statistics.median(seconds[2:])


def main() -> None:
    """Print frames per second for every setting asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, nargs="+", default=[2, 8], help="snippets a batch")
    parser.add_argument("--dtype", nargs="+", default=["float32"], choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.device}, {arguments.threads} threads")
    for dtype in arguments.dtype:
        model = I3D.from_pretrained(dtype=getattr(torch, dtype)).to(arguments.device)
        for batch in arguments.batch:
            plain = frames_per_second(model, batch=batch)
            with keep_freed_memory() as kept:
                keeping = frames_per_second(model, batch=batch) if kept else float("nan")
            print(
                f"{dtype}, batch {batch}: {plain:.0f} frames/s; "
                f"{keeping:.0f} with freed memory kept, as extract_to_files does"
            )


if __name__ == "__main__":
    main()
