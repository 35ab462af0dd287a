"""Both passes of the Triton kernels with chosen blocks, everything they fill poisoned before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ladnet_fast.kernels.launch import Launch
from ladnet_fast.kernels.locality_attention import plan
from ladnet_fast.kernels.locality_attention.configs import (
    SHORT_BACKWARD,
    TWO_LAUNCHES,
    Config,
)
from ladnet_fast.ops.locality_attention.layout import empty_lse, empty_output
from tests.ops.locality_attention.budget import assert_results_within_budget
from tests.ops.locality_attention.cases import prior_tensors, random_qkv

#: Blocks of queries and keys, and of the band: every order of sizes that the kernels may meet.
BLOCKS = {
    "as many queries as keys": Config(32, 32, 16, 4, 1),
    "more queries": Config(64, 16, 32, 4, 1),
    "more keys": Config(16, 64, 16, 4, 1),
    "one far loop": Config(32, 16, 16, 4, 1, one_far_loop=True),
}
SMALL = BLOCKS["as many queries as keys"]
LARGE = Config(128, 128, 64, 4, 1)
#: Rows of the kernel that combines the parts of split keys.
ROWS = Config(16, 0, 0, 4, 1)
WORKSPACES = ("parts", "part_sums", "band_parts", "delta")


def forward_pass(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor | None,
    b: Tensor | None,
    *,
    prior: str = "additive",
    scale: float | None = None,
    lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    config: Config = SMALL,
    splits: int = 1,
    kernel: str = "forward",
    training: bool = True,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return out, lse and, with the additive prior, softmax_out of the Triton kernels."""
    out, lse = empty_output(q), empty_lse(q)
    softmax_out = empty_output(q) if prior == "additive" and training else None
    launches = plan.plan_forward(
        q, k, v, w, b, lengths, cu_seqlens, out, lse, softmax_out,
        **_options(q, prior, scale, config), multiprocessors=1, splits=splits, kernel=kernel,
    )  # fmt: skip
    _run(launches, out, lse, softmax_out)
    return out, lse, softmax_out


def both_passes(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor | None,
    b: Tensor | None,
    grad_out: Tensor,
    *,
    prior: str = "additive",
    scale: float | None = None,
    lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    need_prior_grad: bool = True,
    config: Config = SMALL,
    splits: int = 1,
    kernel: str = "forward",
    one_launch: bool = False,
    backward: str = "backward",
) -> tuple[Tensor | None, ...]:
    """Return out, the gradients of q, k, v, w, b, and lse of the Triton kernels.

    With ``one_launch``, for which ``config`` has ``queries_n``, one launch computes dK, dV and dQ.
    ``kernel`` and ``backward`` are what `plan_forward` and `plan_backward` call ``kernel``.
    """
    out, lse, softmax_out = forward_pass(
        q, k, v, w, b, prior=prior, scale=scale, lengths=lengths, cu_seqlens=cu_seqlens,
        config=config, splits=splits, kernel=kernel,
    )  # fmt: skip
    grads = [empty_output(q) for _ in range(3)]
    back = plan.plan_backward(
        grad_out, q, k, v, w, b, out if softmax_out is None else softmax_out, lse,
        lengths, cu_seqlens, *grads, need_prior_grad=need_prior_grad and prior != "none",
        **_options(q, prior, scale, config, one_launch), kernel=backward,
    )  # fmt: skip
    assert ("backward" in back.launches) == one_launch
    assert (SHORT_BACKWARD in back.launches) == (backward == SHORT_BACKWARD)
    _run(back.launches, *grads, back.partials)
    return (out, *grads, *back.prior_grads(), lse)


def _options(
    q: Tensor, prior: str, scale: float | None, config: Config, one_launch: bool = False
) -> dict[str, Any]:
    queries = config
    if config.queries_n:
        queries = replace(config, block_m=config.block_n, block_n=config.queries_n)
    chosen = {
        "combine": ROWS,
        "backward": config if one_launch else TWO_LAUNCHES,
        "backward_queries": queries,
    }
    return {
        "prior": prior,
        "scale": q.shape[-1] ** -0.5 if scale is None else scale,
        "precision": "ieee",
        "choose": lambda kernel, kind: chosen.get(kernel, config),
    }


def _run(launches: dict[str, Launch], *filled: Tensor | None) -> None:
    workspaces = [launch.arguments.get(name) for launch in launches.values() for name in WORKSPACES]
    for x in (*filled, *workspaces):
        if x is not None:
            x.fill_(torch.nan)
    for each in launches.values():
        each.run()


def inputs_of(
    B: int, H: int, T: int, d: int, dtype: torch.dtype, prior_name: str = "wide"
) -> list[Tensor]:
    """Return random q, k, v and a named prior's w and b."""
    return [*random_qkv(B, H, T, d, dtype), *prior_tensors(prior_name, H, torch.float32)]


def check(
    B: int,
    H: int,
    T: int,
    d: int,
    dtype: torch.dtype,
    prior: str,
    prior_name: str = "wide",
    config: Config = SMALL,
    **options: object,
) -> None:
    """Compare random inputs of a shape with float64: every output and gradient."""
    check_inputs(inputs_of(B, H, T, d, dtype, prior_name), prior, config, **options)


def check_inputs(
    inputs: list[Tensor],
    prior: str,
    config: Config = SMALL,
    splits: int = 1,
    kernel: str = "forward",
    **options: object,
) -> None:
    """Compare every output and gradient with float64; ``inputs`` are q, k, v, w and b."""
    grad_out = torch.randn(inputs[0].shape).to(inputs[0].dtype)
    w_b = inputs[3:] if prior != "none" else [None, None]
    actual = both_passes(
        *inputs[:3], *w_b, grad_out, prior=prior, config=config, splits=splits, kernel=kernel,
        **options,
    )  # fmt: skip
    assert_results_within_budget(actual, inputs, grad_out, prior, **options)
