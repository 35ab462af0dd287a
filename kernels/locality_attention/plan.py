"""Plans of the forward and the backward pass: which kernels are launched, and with what.

Planning reads no memory and launches nothing, so the plan for any GPU can be made and compiled on a
machine without one. The caller hands in the results to be filled and has checked all tensors; the
workspaces, whose sizes depend on the configurations, are the plan's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from ..launch import Launch
from .backward_keys import attention_backward_keys
from .backward_queries import attention_backward_queries
from .configs import SHORT, Config
from .descriptors import describe
from .forward import attention_forward
from .preprocess import attention_preprocess
from .short import attention_short
from .split import attention_combine
from .splits import choose_splits

#: (kernel, prior) -> blocks, warps and stages. The kernel is a key of `KERNELS`; the prior is
#: "none" for a kernel that does not depend on it.
Choose = Callable[[str, str], Config]

#: The kernels by the names that plans give them.
KERNELS: dict[str, Any] = {
    "forward": attention_forward,
    **dict.fromkeys(SHORT, attention_short),
    "combine": attention_combine,
    "preprocess": attention_preprocess,
    "backward_keys": attention_backward_keys,
    "backward_queries": attention_backward_queries,
}

#: Row numbers are int32, and a program computes some a tile and a band beyond its last row.
MAX_ROWS = 2**30 - 1024
MAX_PROGRAMS = 2**31 - 1


class BackwardPlan(NamedTuple):
    """Launches by kernel name, in order, and the workspace that dw and db are summed from.

    ``partials`` (B, H, tiles, 2) in fp32 gets each program's shares of dw and db; None if these
    gradients are not wanted. (The logit prior's kernel then stores them in a workspace of its own.)
    """

    launches: dict[str, Launch]
    partials: Tensor | None

    def prior_grads(self) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """Return dw and db, (H,) in fp32 each; to be called when the launches have run.

        The partials are added in fp64, in an order that depends on their number alone.
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
    unit, strides = _strides(q=q, k=k, v=v)
    grid, sizes = _grid(q, config.block_m, cu_seqlens)
    variant = _variant(q, unit, prior, precision)
    filled = {"out": out, "softmax_out": softmax_out, "lse": lse}
    if kernel != "forward":
        if q.shape[2] > sum(SHORT[kernel]):
            raise ValueError(f"{kernel} takes no T over {sum(SHORT[kernel])}; got {q.shape[2]}")
        short = _launch(
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
    forward = _launch(
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
    combine = _launch(
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


def plan_backward(
    grad_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor | None,
    b: Tensor | None,
    attended: Tensor,
    lse: Tensor,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    grad_q: Tensor,
    grad_k: Tensor,
    grad_v: Tensor,
    *,
    prior: str,
    scale: float,
    need_prior_grad: bool,
    precision: str,
    choose: Choose,
) -> BackwardPlan:
    """Plan the backward pass; arguments that are not named here as in `plan_forward`.

    Parameters
    ----------
    grad_out : Tensor
        (B, H, T, d), any strides.
    attended : Tensor
        A = softmax(S) V of the forward pass: its ``softmax_out`` for the additive prior, else its
        ``out``.
    lse : Tensor
        As the forward pass filled it.
    grad_q, grad_k, grad_v : Tensor
        (B, H, T, d), stored (B, T, H, d), to be filled.
    need_prior_grad : bool
        Whether `BackwardPlan.prior_grads` will be asked for dw and db.
    """
    grad_out, q, k, v, attended = (readable(x) for x in (grad_out, q, k, v, attended))
    lse = lse.contiguous()
    delta = torch.empty_like(lse)
    slopes = need_prior_grad and prior != "none"
    bags = {"lengths": lengths, "cu_seqlens": cu_seqlens}

    # dw and db of the additive prior need dP = dO V^T in the band alone, so they are computed here.
    # Those of the logit prior need P as well: the queries' kernel computes them.
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
            **given, "w": w, "b": b, "grad_k": grad_k, "grad_v": grad_v,
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
            "grad_q": grad_q, "partials": stored,
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
    return BackwardPlan(launches, stored if slopes and kind == "logit" else partials)


def readable(x: Tensor) -> Tensor:
    """Return ``x``, copied if its last axis has no unit stride or it is a view that negates."""
    x = x.resolve_neg()
    return x if x.shape[-1] == 1 or x.stride(-1) == 1 else x.contiguous()


def _launch(
    kernel: Any,
    grid: tuple[int, ...],
    config: Config,
    arguments: dict[str, Any],
    constexprs: dict[str, Any],
) -> Launch:
    return Launch(kernel, grid, arguments, constexprs, config.num_warps, config.num_stages)


def _grid(q: Tensor, block: int, cu_seqlens: Tensor | None) -> tuple[tuple[int], dict[str, int]]:
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


def _partials(q: Tensor, grid: Sequence[int]) -> Tensor:
    B, H = q.shape[:2]
    tiles = grid[0] // (B * H) if B * H else 0
    return q.new_empty(B, H, tiles, 2, dtype=torch.float32)


def _variant(q: Tensor, unit: int, prior: str, precision: str) -> dict[str, Any]:
    D = q.shape[-1]
    return {
        "D": D,
        "BLOCK_D": max(16, triton.next_power_of_2(D)),  # tl.dot's least size
        "UNIT": unit,
        "PRIOR": prior,
        "PRECISION": precision,
    }


def _strides(**tensors: Tensor) -> tuple[int, dict[str, int]]:
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
