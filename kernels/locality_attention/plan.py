"""Plans of the forward and the backward pass: which kernels are launched, and with what.

Planning reads no memory and launches nothing, so the plan for any GPU can be made and compiled on a
machine without one. The caller hands in the results to be filled and has checked all tensors; the
workspaces, whose sizes depend on the configurations, are the plan's own.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

from ..launch import Launch
from .backward import attention_backward
from .backward_keys import attention_backward_keys
from .backward_queries import attention_backward_queries
from .configs import SHORT, SHORT_BACKWARD, Config
from .descriptors import describe
from .forward import attention_forward
from .plan_backward import BackwardPlan, plan_backward
from .planning import Choose, grid_of, launch_of, readable, strides_of, variant_of
from .preprocess import attention_preprocess
from .short import attention_short
from .short_backward import attention_short_backward
from .specialized import attention_specialized
from .split import attention_combine
from .splits import choose_splits

#: The kernels by the names that plans give them.
KERNELS: dict[str, Any] = {
    "forward": attention_forward,
    **dict.fromkeys(SHORT, attention_short),
    "combine": attention_combine,
    "preprocess": attention_preprocess,
    SHORT_BACKWARD: attention_short_backward,
    "backward": attention_backward,
    "backward_keys": attention_backward_keys,
    "backward_queries": attention_backward_queries,
}

__all__ = [
    "KERNELS", "BackwardPlan", "Choose", "plan_backward", "plan_forward", "specialized_kernels",
]  # fmt: skip


def specialized_kernels() -> tuple[Any, ...]:
    """Return the kernels that serve in the place of "forward" where warps are specialised."""
    from .specialized_sm90 import attention_specialized_sm90  # imports Gluon

    return attention_specialized, attention_specialized_sm90


def plan_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor | None,
    b: Tensor | None,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    out: Tensor,
    lse: Tensor,
    softmax_out: Tensor | None,
    *,
    prior: str,
    scale: float,
    precision: str,
    choose: Choose,
    multiprocessors: int,
    splits: int | None = None,
    kernel: str = "forward",
) -> dict[str, Launch]:
    """Plan the forward pass; return the launches by kernel name, in order.

    Parameters
    ----------
    q, k, v : Tensor
        (B, H, T, d), any strides.
    w, b : Tensor or None
        (H,) float32; None with ``prior="none"``.
    lengths, cu_seqlens : Tensor or None
        (B,) or (N + 1,), int64 and contiguous; not both.
    out, softmax_out : Tensor
        (B, H, T, d), stored (B, T, H, d), to be filled. ``softmax_out`` gets A = softmax(S) V,
        which the backward pass of the additive prior needs; None if it is not wanted.
    lse : Tensor
        (B, H, T) float32, contiguous, to be filled.
    prior : {"additive", "logit", "none"}
        Where the prior enters.
    scale : float
        Factor of the logits.
    precision : {"ieee", "tf32"}
        How fp32 is multiplied.
    choose
        Returns each kernel's configuration.
    multiprocessors : int
        Those of the GPU. Where row tiles are too few for them, keys are split, and there is a
        second launch, "combine". With another number of splits results differ by roundings.
    splits : int, optional
        How many splits instead, for measurements and tests; 1: none.
    kernel : str
        Which one serves, from `configs.forward_kernel`: "forward", or one of `configs.SHORT`, which
        takes bags of so many snippets at most and never splits keys.
    """
    # The kernel takes the maximum before it scales, which is right only for a scale of at least 0.
    if scale < 0:
        q, scale = -q, -scale
    q, k, v = (readable(x) for x in (q, k, v))
    config = choose(kernel, prior)
    unit, strides = strides_of(q=q, k=k, v=v)
    grid, sizes = grid_of(q, config.block_m, cu_seqlens)
    variant = variant_of(q, unit, prior, precision)
    filled = {"out": out, "softmax_out": softmax_out, "lse": lse}
    if kernel != "forward":
        if q.shape[2] > sum(SHORT[kernel]):
            raise ValueError(f"{kernel} takes no T over {sum(SHORT[kernel])}; got {q.shape[2]}")
        short = launch_of(
            attention_short,
            grid,
            config,
            {
                "q": q, "k": k, "v": v, "w": w, "b": b, **filled,
                "lengths": lengths, "cu_seqlens": cu_seqlens, **strides, "scale": scale, **sizes,
            },
            {
                **variant, "BLOCK_M": config.block_m, "BLOCK_BAND": config.block_band,
                **dict(zip(("FIRST", "SECOND", "THIRD"), SHORT[kernel], strict=True)),
            },
        )  # fmt: skip
        return {kernel: short}
    if config.specialized:
        if splits not in (None, 1):
            raise ValueError(f"splits must be 1 where warps are specialised; got {splits}")
        bags = {"w": w, "b": b, **filled, "lengths": lengths, "cu_seqlens": cu_seqlens}
        own = {name: stride for name, stride in strides.items() if not name.startswith("q_")}
        given = {**bags, **own, "scale": scale, **sizes}
        return {"forward": _specialized(q, k, v, config, grid, given, variant)}
    if splits is None and config.whole_keys:
        splits = 1
    elif splits is None:
        # Packed bags are taken to be of one length, since the host does not know any.
        longest = triton.cdiv(q.shape[2], 1 if cu_seqlens is None else max(sizes["bags"], 1))
        splits = choose_splits(
            grid[0], triton.cdiv(longest, config.block_n), multiprocessors=multiprocessors
        )
    blocks = {"BLOCK_M": config.block_m, "BLOCK_N": config.block_n}
    # Without splits there is no such argument: that kernel knows nothing of them.
    split = {"splits": splits if splits > 1 else None}
    bags = {"lengths": lengths, "cu_seqlens": cu_seqlens, **sizes, **split}
    parts = dict.fromkeys(("parts", "part_sums", "band_parts"))
    if splits > 1:
        parts = _parts(q, grid[0], splits, config.block_m, variant["BLOCK_D"], prior)
    tiles = {"k_tiles": None, "v_tiles": None}
    if config.descriptors:
        tiles = {
            f"{name}_tiles": describe(x, config.block_n, variant["BLOCK_D"])
            for name, x in (("k", k), ("v", v))
        }
    forward = launch_of(
        attention_forward,
        grid if splits == 1 else (*grid, splits),
        config,
        {
            "q": q, "k": k, "v": v, **tiles, "w": w, "b": b,
            **(filled if splits == 1 else dict.fromkeys(filled)),
            **parts, **strides, "scale": scale, **bags,
        },
        {**variant, **blocks, "BLOCK_BAND": config.block_band},
    )  # fmt: skip
    if splits == 1:
        return {"forward": forward}
    kind = "additive" if prior == "additive" else "none"
    rows = choose("combine", kind)
    combine = launch_of(
        attention_combine,
        (*grid, config.block_m // rows.block_m),
        rows,
        {
            **({"w": w, "b": b} if kind == "additive" else {"w": None, "b": None}),
            **parts, **filled, **bags,
        },
        {
            "D": variant["D"], "BLOCK_D": variant["BLOCK_D"], "PRIOR": kind, **blocks,
            "ROWS": rows.block_m,
        },
    )  # fmt: skip
    return {"forward": forward, "combine": combine}


def _specialized(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    config: Config,
    grid: tuple[int, ...],
    given: dict[str, Any],
    variant: dict[str, Any],
) -> Launch:
    """Return the launch of the kernel whose warps are specialised."""
    blocks = {"BLOCK_M": config.block_m, "BLOCK_N": config.block_n}
    columns = variant["BLOCK_D"]
    if config.specialized == "gluon":
        from .specialized_sm90 import attention_specialized_sm90, describe_swizzled

        kernel, made, rows = attention_specialized_sm90, describe_swizzled, config.block_m // 2
        constants = {name: variant[name] for name in ("D", "BLOCK_D", "PRIOR")}
        constants |= {**blocks, "STAGES": config.num_stages}
        # All tiles come by descriptors.
        given = {name: x for name, x in given.items() if not name.startswith(("k_", "v_"))}
    else:
        kernel, made, rows = attention_specialized, describe, config.block_m
        constants = {**variant, **blocks, "BLOCK_BAND": config.block_band}
        given = {"k": k, "v": v, **given}
    tiles = {
        "q_tiles": made(q, rows, columns),
        "k_tiles": made(k, config.block_n, columns),
        "v_tiles": made(v, config.block_n, columns),
    }
    return launch_of(kernel, grid, config, {**tiles, **given}, constants)


def _parts(
    q: Tensor, programs: int, splits: int, block_m: int, block_d: int, prior: str
) -> dict[str, Tensor | None]:
    """Return the workspaces of the parts: 64 KB a part, in tiles of 128 x 128."""
    parts, band_parts = (
        q.new_empty(programs, splits, block_m, block_d, dtype=torch.float32) if wanted else None
        for wanted in (True, prior == "additive")
    )
    part_sums = q.new_empty(programs, splits, 2, block_m, dtype=torch.float32)
    return {"parts": parts, "part_sums": part_sums, "band_parts": band_parts}
