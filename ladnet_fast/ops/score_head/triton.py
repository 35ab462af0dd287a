"""The Triton kernels as a backend of the score head; the derivation is in kernels/score_head."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from .. import _triton
from .._memory import check_memory
from .layout import empty_scores, empty_slopes

NAME = "triton"
#: Kernel sizes that are tested; the kernels hold all taps at once.
MAX_TAPS = 32

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def why_not(features: Tensor, weight: Tensor, bias: Tensor) -> list[str]:
    """Return every reason why this backend cannot serve these tensors; none if it can."""
    tensors = {"features": features, "weight": weight, "bias": bias}
    reasons = _triton.problems(tensors)
    if features.dtype not in _DTYPES:
        reasons.append(
            f"features are {features.dtype}; the kernels take float32, bfloat16 and float16"
        )
    for name in ("weight", "bias"):
        if tensors[name].dtype != features.dtype:
            reasons.append(f"{name} is {tensors[name].dtype} beside features in {features.dtype}")
    if weight.shape[2] > MAX_TAPS:
        reasons.append(f"the kernel size is {weight.shape[2]}; the kernels reach {MAX_TAPS}")
    return reasons


def forward(
    features: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor | None, *, training: bool
) -> tuple[Tensor, Tensor]:
    """Return ``(scores, slopes)`` as `schema` describes them."""
    features, weight = _check(features, weight, lengths)
    check_memory("bias", bias)
    scores, slopes = empty_scores(features), empty_slopes(features, training)
    saved = slopes if training else None
    with _triton.on_device(features):
        _plan().plan_forward(features, weight, bias.contiguous(), lengths, scores, saved).run()
    return scores, slopes


def backward(
    grad_scores: Tensor,
    features: Tensor,
    weight: Tensor,
    slopes: Tensor,
    lengths: Tensor | None,
    *,
    need_input: bool,
    need_parameters: bool,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of features, weight and bias; None where nobody needs them."""
    features, weight = _check(features, weight, lengths)
    if grad_scores.shape != slopes.shape or slopes.shape != features.shape[:2]:
        raise ValueError(
            f"grad_scores and slopes must be {tuple(features.shape[:2])}; got "
            f"{tuple(grad_scores.shape)} and {tuple(slopes.shape)}"
        )
    check_memory("grad_scores", grad_scores)
    check_memory("slopes", slopes)
    plan = _plan()
    grad_x = features.new_empty(features.shape) if need_input else None
    weight_parts = bias_parts = None
    if need_parameters:
        parts = plan.parts(features)
        weight_parts = slopes.new_empty(parts, *weight.shape[1:])
        bias_parts = slopes.new_empty(parts)
    with _triton.on_device(features):
        plan.plan_backward(
            grad_scores.contiguous(), features, weight, slopes.contiguous(), lengths,
            grad_x, weight_parts, bias_parts,
        ).run()  # fmt: skip
    if weight_parts is None or bias_parts is None:
        return grad_x, None, None
    # Sums of a fixed shape over a fixed axis: the same bits at every run.
    grad_weight = weight_parts.sum(dim=0, keepdim=True).to(weight.dtype)
    return grad_x, grad_weight, bias_parts.sum(dim=0, keepdim=True).to(weight.dtype)


def _plan() -> ModuleType:
    from ...kernels.score_head import plan  # imports Triton

    return plan


def _check(features: Tensor, weight: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Check what the kernels trust; return features and weight as they read them."""
    B, _, C = features.shape
    if weight.dim() != 3 or weight.shape[:2] != (1, C) or not 1 <= weight.shape[2] <= MAX_TAPS:
        raise ValueError(
            f"weight must have shape (1, {C}, K) with K from 1 to {MAX_TAPS}; "
            f"got {tuple(weight.shape)}"
        )
    if lengths is not None and (lengths.shape != (B,) or lengths.dtype != torch.int64):
        raise ValueError(
            f"lengths must be int64 of shape ({B},); got {lengths.dtype} of {tuple(lengths.shape)}"
        )
    check_memory("features", features)
    check_memory("weight", weight)
    if lengths is not None:
        check_memory("lengths", lengths)
    if C > 1 and features.stride(2) != 1:
        features = features.contiguous()
    return features, weight.contiguous()
