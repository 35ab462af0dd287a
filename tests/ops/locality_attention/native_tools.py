"""What the tests of the compiled CPU backend share: both passes in one call."""

from __future__ import annotations

import pytest
from torch import Tensor

from ladnet_fast import _native

from .budget import assert_results_within_budget
from .passes import backward, forward

needs_native = pytest.mark.skipif(_native.cpu is None, reason=str(_native.cpu_problem))


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
) -> tuple[Tensor | None, ...]:
    """Return out, the gradients of q, k, v, w, b, and lse of the native kernels."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    options = {"prior": prior, "scale": scale}
    bags = (lengths, cu_seqlens)
    out, lse, softmax_out = forward(q, k, v, w, b, *bags, training=True, **options)
    grads = backward(
        grad_out, q, k, v, w, b, softmax_out, out, lse, *bags,
        need_prior_grad=prior != "none", **options,
    )  # fmt: skip
    return (out, *grads, lse)


def assert_within_budget(
    inputs: list[Tensor], grad_out: Tensor, prior: str, **options: object
) -> None:
    """Run both passes and check every result, see `assert_results_within_budget`."""
    w_b = inputs[3:] if prior != "none" else [None, None]
    actual = both_passes(*inputs[:3], *w_b, grad_out, prior=prior, **options)
    assert_results_within_budget(actual, inputs, grad_out, prior, **options)
