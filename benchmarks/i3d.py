"""How fast I3D runs here: ``python -m benchmarks i3d``."""

from __future__ import annotations

import statistics
import time
from typing import Annotated

import torch
import typer

from ladnet_fast._allocator import keep_freed_memory
from ladnet_fast.video.features import snippet_features
from ladnet_fast.video.i3d import CROP_SIZE, I3D, SNIPPET_FRAMES


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


def i3d(
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="Snippets in a batch; default: 2 and 8.")
    ] = None,
    dtype: Annotated[
        list[str] | None, typer.Option(help="float32 (default) or bfloat16; may be repeated.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda ...")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="Default: torch's own choice.")] = None,
) -> None:
    """Time I3D in PyTorch alone: frames per second for every dtype and batch asked for.

    Example: python -m benchmarks i3d --dtype float32 --dtype bfloat16
    """
    dtypes = [dtype_of(name, "--dtype") for name in dtype or ["float32"]]
    torch.set_num_threads(threads or torch.get_num_threads())
    typer.echo(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads")
    for precision in dtypes:
        model = I3D.from_pretrained(dtype=precision).to(device)
        for size in batch or [2, 8]:
            plain = frames_per_second(model, batch=size)
            with keep_freed_memory() as kept:
                keeping = frames_per_second(model, batch=size) if kept else float("nan")
            typer.echo(
                f"{str(precision).removeprefix('torch.')}, batch {size}: {plain:.0f} frames/s; "
                f"{keeping:.0f} with freed memory kept, as extract_to_files does"
            )


def dtype_of(name: str, option: str) -> torch.dtype:
    """Return the dtype of that name; an error names the option."""
    if name not in ("float32", "bfloat16"):
        raise typer.BadParameter(f"{option} must be float32 or bfloat16; got {name!r}")
    return torch.float32 if name == "float32" else torch.bfloat16
