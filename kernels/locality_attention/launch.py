"""Plans of the forward and the backward pass: results, workspaces, grids and strides.

Planning reads no memory and launches nothing: the plan for any GPU can be made, compiled and
executed elsewhere, on a machine without one. Arguments are trusted; the backend has checked them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from ladnet_fast.ops.locality_attention.layout import empty_lse, empty_output

from ..launch import Launch
from .backward_keys import attention_backward_keys
from .backward_queries import attention_backward_queries
from .configs import Config
from .forward import attention_forward
from .preprocess import attention_preprocess

#: (kernel, prior) -> blocks, warps and stages; the kernel by its name in a plan, the prior as it is
#: compiled, which is "none" where a kernel has no part in it.
Choose = Callable[[str, str], Config]

#: The kernels by the names that plans give them.
KERNELS: dict[str, Any] = {
    "forward": attention_forward,
    "preprocess": attention_preprocess,
    "backward_keys": attention_backward_keys,
    "backward_queries": attention_backward_queries,
}

#: Row numbers are 32 bits wide and a program may look a tile and a band beyond its own row.
MAX_ROWS = 2**30 - 1024
MAX_PROGRAMS = 2**31 - 1


class ForwardPlan(NamedTuple):
    """Launches by kernel name, in order, and what they fill."""

    launches: dict[str, Launch]
    out: Tensor
    lse: Tensor
    softmax_out: Tensor


class BackwardPlan(NamedTuple):
    """Launches by kernel name, in order, and what they fill.

    ``partials`` (B, H, tiles, 2), in fp32, holds what every program adds to dw and db; None if
    these gradients are not wanted. (The logit prior's kernel stores them all the same.)
    """

    launches: dict[str, Launch]
    grad_q: Tensor
    grad_k: Tensor
    grad_v: Tensor
    partials: Tensor | None

    def prior_grads(self) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """Return dw and db, (H,) in fp32 each, once the launches have run.

        The partials are added in fp64 and in an order that their number alone decides.
        """
        if self.partials is None:
            return None, None
        sums = self.partials.sum(dim=(0, 2), dtype=torch.float64).float()
        return sums[:, 0].clone(), sums[:, 1].clone()


def plan_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor | None,
    b: Tensor | None,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    *,
    prior: str,
    scale: float,
    training: bool,
    precision: str,
    choose: Choose,
) -> ForwardPlan:
    """Plan the forward pass of the operator; ``precision`` of fp32 products is "ieee" or "tf32".

    ``softmax_out`` is empty unless ``training`` with the additive prior.
    """
    # The running maximum is taken before the scale: it must not turn the order round.
    if scale < 0:
        q, scale = -q, -scale
    q, k, v = (readable(x) for x in (q, k, v))
    out, lse = empty_output(q), empty_lse(q)
    kept = training and prior == "additive"
    softmax_out = empty_output(q) if kept else q.new_empty(0)
    config = choose("forward", prior)
    unit, strides = _strides(q=q, k=k, v=v)
    grid, sizes = _grid(q, config.block_m, cu_seqlens)
    launch = _launch(
        attention_forward,
        grid,
        config,
        {
            "q": q, "k": k, "v": v, "w": w, "b": b, "out": out,
            "softmax_out": softmax_out if kept else None, "lse": lse,
            "lengths": lengths, "cu_seqlens": cu_seqlens,
            **strides, "scale": scale, **sizes,
        },
        {
            **_variant(q, unit, prior, precision),
            "BLOCK_M": config.block_m,
            "BLOCK_N": config.block_n,
            "BLOCK_BAND": config.block_band,
        },
    )  # fmt: skip
    return ForwardPlan({"forward": launch}, out, lse, softmax_out)


def plan_backward(
    grad_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor | None,
    b: Tensor | None,
    softmax_out: Tensor,
    out: Tensor,
    lse: Tensor,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    *,
    prior: str,
    scale: float,
    need_prior_grad: bool,
    precision: str,
    choose: Choose,
) -> BackwardPlan:
    """Plan the backward pass; ``out``, ``lse`` and ``softmax_out`` are the forward pass's."""
    grad_out, q, k, v = (readable(x) for x in (grad_out, q, k, v))
    attended = readable(softmax_out if prior == "additive" else out)
    lse = lse.contiguous()
    delta = torch.empty_like(lse)
    dq, dk, dv = (empty_output(q) for _ in range(3))
    slopes = need_prior_grad and prior != "none"
    bags = {"lengths": lengths, "cu_seqlens": cu_seqlens}

    # The additive prior's gradient needs dO, V and the band; the logit's needs P as well.
    kind = "additive" if slopes and prior == "additive" else "none"
    config = choose("preprocess", kind)
    unit, strides = _strides(v=v, grad_out=grad_out, attended=attended)
    grid, sizes = _grid(q, config.block_m, cu_seqlens)
    partials = _partials(q, grid) if kind == "additive" else None
    preprocess = _launch(
        attention_preprocess,
        grid,
        config,
        {
            "v": v,
            **({"w": w, "b": b} if kind == "additive" else {"w": None, "b": None}),
            "grad_out": grad_out, "attended": attended, "delta": delta, "partials": partials,
            **bags, **strides, **sizes,
        },
        {
            **_variant(q, unit, kind, precision),
            "BLOCK_M": config.block_m,
            "BLOCK_BAND": config.block_band,
        },
    )  # fmt: skip

    unit, strides = _strides(q=q, k=k, v=v, grad_out=grad_out)
    given = {"q": q, "k": k, "v": v, "grad_out": grad_out, "lse": lse, "delta": delta}
    config = choose("backward_keys", prior)
    grid, sizes = _grid(q, config.block_n, cu_seqlens)
    keys = _launch(
        attention_backward_keys,
        grid,
        config,
        {
            **given, "w": w, "b": b, "grad_k": dk, "grad_v": dv,
            **bags, **strides, "scale": scale, **sizes,
        },
        {
            **_variant(q, unit, prior, precision),
            "BLOCK_M": config.block_m,
            "BLOCK_N": config.block_n,
            "BLOCK_BAND": config.block_band,
            "ONE_FAR_LOOP": config.one_far_loop,
        },
    )  # fmt: skip

    kind = "logit" if prior == "logit" else "none"
    config = choose("backward_queries", kind)
    grid, sizes = _grid(q, config.block_m, cu_seqlens)
    stored = _partials(q, grid) if kind == "logit" else None
    queries = _launch(
        attention_backward_queries,
        grid,
        config,
        {
            **given,
            **({"w": w, "b": b} if kind == "logit" else {"w": None, "b": None}),
            "grad_q": dq, "partials": stored,
            **bags, **strides, "scale": scale, **sizes,
        },
        {
            **_variant(q, unit, kind, precision),
            "BLOCK_M": config.block_m,
            "BLOCK_N": config.block_n,
            "ONE_FAR_LOOP": config.one_far_loop,
        },
    )  # fmt: skip
    launches = {"preprocess": preprocess, "backward_keys": keys, "backward_queries": queries}
    return BackwardPlan(launches, dq, dk, dv, stored if slopes and kind == "logit" else partials)


def readable(x: Tensor) -> Tensor:
    """Return ``x`` or a copy whose last axis has unit stride and whose values are as stored."""
    x = x.resolve_neg()
    return x if x.shape[-1] == 1 or x.stride(-1) == 1 else x.contiguous()


def _launch(
    kernel: Any,
    grid: tuple[int],
    config: Config,
    arguments: dict[str, Any],
    constexprs: dict[str, Any],
) -> Launch:
    return Launch(kernel, grid, arguments, constexprs, config.num_warps, config.num_stages)


def _grid(q: Tensor, block: int, cu_seqlens: Tensor | None) -> tuple[tuple[int], dict[str, int]]:
    """Return the grid, all on its long axis, and the sizes that :func:`.bags.locate` needs."""
    B, H, T, _ = q.shape
    if cu_seqlens is None:
        bags, tiles = B, triton.cdiv(T, block)
    else:
        bags = cu_seqlens.shape[0] - 1
        tiles = T // block + bags if T > 0 else 0
    if T > MAX_ROWS or B * H * tiles > MAX_PROGRAMS:
        raise ValueError(
            f"q has shape {tuple(q.shape)}; the Triton kernels reach T = {MAX_ROWS} and "
            f"{MAX_PROGRAMS} tiles of {block} rows. Split the batch."
        )
    return (B * H * tiles,), {"H": H, "T": T, "bags": bags, "tiles": tiles}


def _partials(q: Tensor, grid: Sequence[int]) -> Tensor:
    B, H = q.shape[:2]
    tiles = grid[0] // (B * H) if B * H else 0
    return q.new_empty(B, H, tiles, 2, dtype=torch.float32)


def _variant(q: Tensor, unit: int, prior: str, precision: str) -> dict[str, Any]:
    D = q.shape[-1]
    return {
        "D": D,
        "BLOCK_D": max(16, triton.next_power_of_2(D)),  # the least that a product takes
        "UNIT": unit,
        "PRIOR": prior,
        "PRECISION": precision,
    }


def _strides(**tensors: Tensor) -> tuple[int, dict[str, int]]:
    """Return UNIT and every tensor's strides in that unit: 16 bytes if all are multiples, else 1.

    Axes of one entry count as aligned, whatever torch says their stride is.
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
