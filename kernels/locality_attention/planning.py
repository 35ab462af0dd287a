"""What the plans of both passes have in common: grids, sizes, strides, constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import triton
from torch import Tensor

from ..launch import Launch
from .configs import Config

#: (kernel, prior) -> blocks, warps and stages. The kernel is one of `configs.KERNELS`; the prior is
#: "none" for a kernel that does not depend on it.
Choose = Callable[[str, str], Config]

#: Row numbers are int32, and a program computes some a tile and a band beyond its last row.
MAX_ROWS = 2**30 - 1024
MAX_PROGRAMS = 2**31 - 1


def readable(x: Tensor) -> Tensor:
    """Return ``x``, copied if its last axis has no unit stride or it is a view that negates."""
    x = x.resolve_neg()
    return x if x.shape[-1] == 1 or x.stride(-1) == 1 else x.contiguous()


def launch_of(
    kernel: Any,
    grid: tuple[int, ...],
    config: Config,
    arguments: dict[str, Any],
    constexprs: dict[str, Any],
) -> Launch:
    """Return the launch of a kernel in a configuration."""
    return Launch(kernel, grid, arguments, constexprs, config.num_warps, config.num_stages)


def grid_of(q: Tensor, block: int, cu_seqlens: Tensor | None) -> tuple[tuple[int], dict[str, int]]:
    """Return the grid, one axis of B x H x tiles programs, and the sizes that ``locate`` needs."""
    B, H, T, _ = q.shape
    if cu_seqlens is None:
        bags, tiles = B, triton.cdiv(T, block)
    else:
        bags = cu_seqlens.shape[0] - 1
        tiles = T // block + bags if T > 0 else 0
    if T > MAX_ROWS or B * H * tiles > MAX_PROGRAMS:
        raise ValueError(
            f"q must have at most T = {MAX_ROWS} snippets and B x H x T in at most "
            f"{MAX_PROGRAMS} tiles of {block} rows for the Triton kernels; got {tuple(q.shape)}. "
            f"Split the batch."
        )
    return (B * H * tiles,), {"H": H, "T": T, "bags": bags, "tiles": tiles}


def variant_of(q: Tensor, unit: int, prior: str, precision: str) -> dict[str, Any]:
    """Return the constants that all kernels over (T, d) are compiled with."""
    D = q.shape[-1]
    return {
        "D": D,
        "BLOCK_D": max(16, triton.next_power_of_2(D)),  # tl.dot's least size
        "UNIT": unit,
        "PRIOR": prior,
        "PRECISION": precision,
    }


def strides_of(**tensors: Tensor) -> tuple[int, dict[str, int]]:
    """Return UNIT, the number of elements that strides are counted in, and the strides in it.

    UNIT is 16 bytes where every stride is a multiple of that, else one element. The stride of an
    axis with one entry means nothing, so it is passed as 0.
    """
    strides = {
        f"{name}_{axis}": 0 if x.shape[i] == 1 else x.stride(i)
        for name, x in tensors.items()
        for i, axis in enumerate(("batch", "head", "row"))
    }
    unit = max(16 // x.element_size() for x in tensors.values())
    if any(stride % unit for stride in strides.values()):
        unit = 1
    return unit, {name: stride // unit for name, stride in strides.items()}
