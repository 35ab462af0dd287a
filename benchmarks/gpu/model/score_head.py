"""The score head, whose kernels wait for memory; what their blocks do is counted all the same."""

from __future__ import annotations

import torch

from ladnet_fast.kernels.launch import Launch
from ladnet_fast.kernels.score_head.plan import parts, plan_backward, plan_forward

from .attention import PRECISIONS, tensor_bytes
from .timing import Block, Kernel

#: Registers of a thread, at most: these kernels are not in docs/gpu-resources.json, and the test of
#: their machine code holds them to no spill, not to a number.
_REGISTERS = 255


def kernels(B: int, T: int, C: int, K: int, dtype: torch.dtype, backward: bool) -> list[Kernel]:
    """Return the launches of a call on (B, T, C) features with K taps, in their order."""

    def tensor(*shape: int, dtype: torch.dtype = dtype) -> torch.Tensor:
        return torch.empty(*shape, dtype=dtype, device="meta")

    x, weight, bias = tensor(B, T, C), tensor(1, C, K), tensor(1)
    scores = tensor(B, T)
    slopes = tensor(B, T, dtype=torch.float32) if backward else None
    launch = plan_forward(x, weight, bias, None, scores, slopes)
    found = [_kernel("score_head_forward", launch, dtype, 2)]
    if slopes is not None:
        count = parts(x)
        sums = (
            tensor(count, C, K, dtype=torch.float32),
            tensor(count, dtype=torch.float32),
        )
        launch = plan_backward(tensor(B, T), x, weight, slopes, None, tensor(B, T, C), *sums)
        found.append(_kernel("score_head_backward", launch, dtype, 1))
    return found


def _kernel(name: str, launch: Launch, dtype: torch.dtype, stages: int) -> Kernel:
    constant = launch.constexprs
    rows, channels, taps = (constant[f"BLOCK_{axis}"] for axis in ("T", "C", "TAPS"))
    size = dtype.itemsize
    count = 1
    for axis in launch.grid:
        count *= axis
    x = launch.arguments["X"]
    C = x.shape[2]
    if name == "score_head_forward":
        tiles, products = -(-C // channels), 1
    else:  # one block of rows after the other; a split gradient is multiplied twice, for x and w
        tiles, products = launch.arguments["blocks_per_program"], 2 * (2 if size == 2 else 1)
    values = rows * channels * tiles
    operations = 2.0 * values * taps * products
    precision = PRECISIONS[dtype]
    on_cores = precision != "fp32"
    block = Block(
        count,
        tensor=operations if on_cores else 0.0,
        exponentials=float(rows) if name == "score_head_forward" else 0.0,
        instructions=values / 32 * 2 + (0.0 if on_cores else operations / 2 / 32),
        l2_bytes=float(values * size),
    )
    # Two stages of a tile of features in shared memory, at most.
    shared = stages * rows * channels * size
    return Kernel(
        name, f"{rows}x{channels}w{launch.num_warps}", precision, 32 * launch.num_warps,
        _REGISTERS, shared, tensor_bytes(launch.arguments), (block,),
    )  # fmt: skip
