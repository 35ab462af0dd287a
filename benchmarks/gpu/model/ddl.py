"""The DDL losses: launches and grids as csrc/cuda plans them, bytes as its README.md has them."""

from __future__ import annotations

from collections.abc import Callable

import torch

from . import resources
from .attention import PRECISIONS
from .chips import Chip
from .timing import Block, Kernel

#: Widest row -> lanes that hold it, and values a lane: csrc/cuda/ddl_rows.cuh.
_SHAPES = {128: (8, 16), 512: (32, 16), 1024: (32, 32), 4096: (128, 32)}
_ROW_THREADS = 128
_CHUNK = 16_384
_TYPES = {"bf16": "BFloat16", "fp16": "Float16", "fp32": "float"}
#: Instructions for each value of a row, and for the row: counted in the source. Forward: a
#: conversion, a square, a product, a difference and its square; sums over lanes, the place in the
#: bag. Backward: the two differences, their sums with u, and a store.
_INSTRUCTIONS = {"dynamics_kernel": (5, 60), "gradient_kernel": (10, 90)}
#: Passes of the radix select over the keys: four digits, then the sum.
_PASSES = 5
#: Kernels of bags that may be longer than a chunk: a pass counts, and one block a bag picks.
_SPLIT = ("count_kernel", "pick_kernel") * 4


def kernels(N: int, T: int, C: int, dtype: torch.dtype, backward: bool, chip: Chip) -> list[Kernel]:
    """Return the launches of a call on N bags of T snippets with C features, in their order."""
    precision, snippets = PRECISIONS[dtype], N * T
    row = float(C * dtype.itemsize)
    strip = min(max(snippets // 16_384, 4), 64)
    width = next(width for width in _SHAPES if width >= C)
    lanes, values = _SHAPES[width]
    groups = -(-snippets // strip)
    walks = -(-groups * lanes // _ROW_THREADS)
    shape = f"Shape<{_TYPES[precision]}, {lanes}, {values}>"

    def kernel(name: str, blocks: int, threads: int, bytes_: float, block: Block) -> Kernel:
        usage = resources.cuda(f"sm_{chip.architecture} {name}")
        counted = Block(blocks, 0.0, block.exponentials, block.instructions, block.l2_bytes,
                        block.trips)  # fmt: skip
        return Kernel(
            name, f"{threads} threads", precision, threads, usage.registers, usage.shared, bytes_,
            (counted,),
        )  # fmt: skip

    def walk(name: str, more: int, bytes_: float) -> Kernel:
        # A group reads the rows of its strip one after the other: the next is on its way while one
        # is computed, so a block waits for memory once for each two rows.
        each, whole = _INSTRUCTIONS[name]
        issued = (strip + more) * (each * values + whole) * _ROW_THREADS / 32
        block = Block(
            instructions=issued, l2_bytes=(strip + more) * row * _ROW_THREADS / lanes,
            trips=(strip + more) // 2 + 1,
        )  # fmt: skip
        return kernel(f"{name}<{shape}>", walks, _ROW_THREADS, bytes_, block)

    found = [walk("dynamics_kernel", 1, snippets * (row * (1 + 1 / strip) + 4))]
    found += _selection(kernel, N, T)
    parts = -(-snippets // 256)
    found += [
        kernel("judge_kernel", 1, 512, 64.0 * N, Block(trips=6)),
        kernel(
            f"finish_kernel<{str(backward).lower()}>", parts, 256,
            snippets * (20.0 if backward else 8.0), Block(l2_bytes=256 * 20.0, trips=4),
        ),
        kernel("terms_kernel", 1, 512, 8.0 * parts, Block(l2_bytes=8.0 * parts, trips=4)),
    ]  # fmt: skip
    if backward:
        moved = snippets * (row * (1 + 2 / strip) + 20 + row + 4)
        found.append(walk("gradient_kernel", 2, moved))
    return found


def _selection(kernel: Callable[..., Kernel], N: int, T: int) -> list[Kernel]:
    """Return the launches of the top-k of scores and dynamics."""
    chunk = min(T, _CHUNK)
    one_pass = Block(l2_bytes=4.0 * chunk, trips=4)
    whole = Block(l2_bytes=4.0 * chunk * _PASSES, trips=4 * _PASSES)
    found = [kernel("select_kernel", 2 * N, 512, 8.0 * N * T, whole)]
    if T > _CHUNK:
        slots = N * -(-T // _CHUNK)
        for name in (*_SPLIT, "sum_kernel"):
            counts = name != "pick_kernel"
            blocks = 2 * (slots if counts else N)
            found.append(kernel(name, blocks, 512, 0.0, one_pass if counts else Block(trips=4)))
    return found
