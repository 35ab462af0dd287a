"""Both passes of a backend of locality attention on arguments that may be anything."""

from __future__ import annotations

from torch import Tensor

from ladnet_fast.ops.locality_attention.schema import BACKENDS, Call, attention_forward


def forward(
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
    impl: str = "native",
) -> tuple[Tensor, Tensor, Tensor]:
    """Check the arguments as the operator does, and compute out, lse and softmax_out."""
    call = Call.checked(q, k, v, w, b, lengths, cu_seqlens, prior, scale, training, impl)
    return attention_forward(call)


def backward(
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
    impl: str = "native",
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """Check the call as the operator does, and compute the gradients."""
    call = Call.checked(q, k, v, w, b, lengths, cu_seqlens, prior, scale, True, impl)
    attended = softmax_out if prior == "additive" else out
    return BACKENDS[impl].backward(grad_out, call, attended, lse, need_prior_grad)
