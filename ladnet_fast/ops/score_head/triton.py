"""The Triton kernels as a backend of the score head; the derivation is in kernels/score_head."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import _triton
from .._memory import check_memory
from .layout import empty_scores, empty_slopes

if TYPE_CHECKING:
    from .schema import Call

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


def forward(call: Call) -> tuple[Tensor, Tensor]:
    """Return ``(scores, slopes)`` as `schema` describes them."""
    features, weight = _read(call)
    check_memory("bias", call.bias)
    scores, slopes = empty_scores(features), empty_slopes(features, call.training)
    saved = slopes if call.training else None
    bias = call.bias.contiguous()
    _run(
        "forward",
        call,
        lambda channels: _plan().plan_forward(
            features, weight, bias, call.lengths, scores, saved, block_channels=channels
        ),
    )
    return scores, slopes


def backward(
    grad_scores: Tensor, call: Call, slopes: Tensor, need_input: bool, need_parameters: bool
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of features, weight and bias; None where nobody needs them."""
    features, weight = _read(call)
    check_memory("grad_scores", grad_scores)
    check_memory("slopes", slopes)
    plan = _plan()
    grad_x = features.new_empty(features.shape) if need_input else None
    weight_parts = bias_parts = None
    if need_parameters:
        parts = plan.parts(features)
        weight_parts = slopes.new_empty(parts, *weight.shape[1:])
        bias_parts = slopes.new_empty(parts)
    grads = (grad_x, weight_parts, bias_parts)
    _run(
        "backward",
        call,
        lambda channels: plan.plan_backward(
            grad_scores.contiguous(), features, weight, slopes.contiguous(), call.lengths, *grads,
            block_channels=channels,
        ),
    )  # fmt: skip
    if weight_parts is None or bias_parts is None:
        return grad_x, None, None
    # Sums of a fixed shape over a fixed axis: the same bits at every run.
    grad_weight = weight_parts.sum(dim=0, keepdim=True).to(weight.dtype)
    return grad_x, grad_weight, bias_parts.sum(dim=0, keepdim=True).to(weight.dtype)


def _run(pass_: str, call: Call, plan: Callable[[int], Any]) -> None:
    """Launch what ``plan`` returns for the most channels that fit the GPU's shared memory."""
    from ...kernels import fitting  # imports Triton

    features = call.features
    offered = _plan().channels(features, pass_)
    with _triton.on_device(features):
        fitting.run(
            lambda choose: {pass_: plan(choose(pass_, "score head"))},
            lambda launches: launches,
            lambda *kernel: offered[0],
            lambda *kernel: offered,
            place=(str(features.device), str(features.dtype), f"K={call.weight.shape[2]}"),
        )


def _plan() -> ModuleType:
    from ...kernels.score_head import plan  # imports Triton

    return plan


def _read(call: Call) -> tuple[Tensor, Tensor]:
    """Return features and weight as the kernels read them; all memory is there."""
    features = call.features
    check_memory("features", features)
    check_memory("weight", call.weight)
    if call.lengths is not None:
        check_memory("lengths", call.lengths)
    if features.shape[2] > 1 and features.stride(2) != 1:
        features = features.contiguous()
    return features, call.weight.contiguous()
