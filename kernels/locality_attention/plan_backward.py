"""The plan of the backward pass: in how many launches, and with what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..launch import Launch
from .backward import attention_backward
from .backward_keys import attention_backward_keys
from .backward_queries import attention_backward_queries
from .configs import SHORT_BACKWARD, TWO_LAUNCHES, Config
from .planning import Choose, grid_of, launch_of, readable, strides_of, variant_of
from .preprocess import attention_preprocess
from .short_backward import attention_short_backward


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
    kernel: str = "backward",
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
    choose
        As in `plan_forward`. Where it returns `TWO_LAUNCHES` for "backward", dK and dV are one
        launch, "backward_keys", and dQ is another, "backward_queries".
    kernel : str
        Which one serves, from `configs.backward_kernel`: "backward", or `configs.SHORT_BACKWARD`,
        which computes everything in one launch.
    """
    grad_out, q, k, v, attended = (readable(x) for x in (grad_out, q, k, v, attended))
    lse = lse.contiguous()
    slopes = need_prior_grad and prior != "none"
    bags = {"lengths": lengths, "cu_seqlens": cu_seqlens}
    if kernel == SHORT_BACKWARD:
        tensors = {"q": q, "k": k, "v": v, "grad_out": grad_out, "attended": attended}
        others = {"w": w, "b": b, "lse": lse, **bags}
        grads = {"grad_q": grad_q, "grad_k": grad_k, "grad_v": grad_v}
        config = choose(kernel, prior)
        short, partials = _short(
            tensors, {**others, **grads}, config, cu_seqlens, prior, scale, precision
        )
        return BackwardPlan({kernel: short}, partials if slopes else None)
    delta = torch.empty_like(lse)

    # dw and db of the additive prior need dP = dO V^T in the band alone, so they are computed here.
    # Those of the logit prior need P as well: the queries' kernel computes them.
    kind = "additive" if slopes and prior == "additive" else "none"
    config = choose("preprocess", kind)
    unit, strides = strides_of(v=v, grad_out=grad_out, attended=attended)
    grid, sizes = grid_of(q, config.block_m, cu_seqlens)
    partials = _partials(q, grid) if kind == "additive" else None
    preprocess = launch_of(
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
            **variant_of(q, unit, kind, precision),
            "BLOCK_M": config.block_m,
            "BLOCK_BAND": config.block_band,
        },
    )  # fmt: skip

    unit, strides = strides_of(q=q, k=k, v=v, grad_out=grad_out)
    given = {"q": q, "k": k, "v": v, "grad_out": grad_out, "lse": lse, "delta": delta}
    together = choose("backward", prior)
    config = together if together != TWO_LAUNCHES else choose("backward_keys", prior)
    grid, sizes = grid_of(q, config.block_n, cu_seqlens)
    keys = launch_of(
        attention_backward_keys,
        grid,
        config,
        {
            **given, "w": w, "b": b, "grad_k": grad_k, "grad_v": grad_v,
            **bags, **strides, "scale": scale, **sizes,
        },
        {
            **variant_of(q, unit, prior, precision),
            "BLOCK_M": config.block_m,
            "BLOCK_N": config.block_n,
            "BLOCK_BAND": config.block_band,
            "ONE_FAR_LOOP": config.one_far_loop,
        },
    )  # fmt: skip

    kind = "logit" if prior == "logit" else "none"
    if together == TWO_LAUNCHES:
        config = choose("backward_queries", kind)
    else:
        config = replace(together, block_m=together.block_n, block_n=together.queries_n)
    grid, sizes = grid_of(q, config.block_m, cu_seqlens)
    stored = _partials(q, grid) if kind == "logit" else None
    queries = launch_of(
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
            **variant_of(q, unit, kind, precision),
            "BLOCK_M": config.block_m,
            "BLOCK_N": config.block_n,
            "ONE_FAR_LOOP": config.one_far_loop,
        },
    )  # fmt: skip
    launches = {"preprocess": preprocess}
    if together == TWO_LAUNCHES:
        launches |= {"backward_keys": keys, "backward_queries": queries}
    else:
        launches |= {"backward": _together(keys, queries)}
    return BackwardPlan(launches, stored if slopes and kind == "logit" else partials)


def _short(
    tensors: dict[str, Tensor],
    others: dict[str, Tensor | None],
    config: Config,
    cu_seqlens: Tensor | None,
    prior: str,
    scale: float,
    precision: str,
) -> tuple[Launch, Tensor | None]:
    """Return the launch that does everything, and its partials; ``tensors`` have strides."""
    q = tensors["q"]
    unit, strides = strides_of(**tensors)
    grid, sizes = grid_of(q, config.block_n, cu_seqlens)
    partials = _partials(q, grid) if prior != "none" else None
    launch = launch_of(
        attention_short_backward,
        (*grid, 2),
        config,
        {**tensors, **others, "partials": partials, **strides, "scale": scale, **sizes},
        {
            **variant_of(q, unit, prior, precision),
            "BLOCK_M": config.block_m,
            "BLOCK_N": config.block_n,
            "QUERIES_N": config.queries_n,
        },
    )
    return launch, partials


def _together(keys: Launch, queries: Launch) -> Launch:
    """Return one launch of the programs of both, which own as many rows and so are as many."""
    own = {name: queries.arguments[name] for name in ("grad_q", "partials")}
    return replace(
        keys,
        kernel=attention_backward,
        grid=(*keys.grid, 2),
        arguments=keys.arguments | own,
        constexprs=keys.constexprs | {"QUERIES_N": queries.constexprs["BLOCK_N"]},
    )


def _partials(q: Tensor, grid: Sequence[int]) -> Tensor:
    B, H = q.shape[:2]
    tiles = grid[0] // (B * H) if B * H else 0
    return q.new_empty(B, H, tiles, 2, dtype=torch.float32)
