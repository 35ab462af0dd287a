"""The compiled CPU kernels as a backend of the score head.

With one output channel the convolution is a thin product, K taps per snippet, and a sum along their
diagonals: the kernels of the linear layers compute the product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ... import _native
from ..linear.chain import Chain, empty_rows

if TYPE_CHECKING:
    from .schema import Call

NAME = "native"


def why_not(features: Tensor, weight: Tensor, bias: Tensor) -> list[str]:
    """Return every reason why this backend cannot serve these tensors; none if it can."""
    reasons = []
    if _native.cpu_problem is not None:
        reasons.append(_native.cpu_problem)
    for name, x in (("features", features), ("weight", weight), ("bias", bias)):
        if not x.is_cpu:
            reasons.append(f"{name} is on {x.device}; the native kernels need CPU tensors")
        if x.dtype != torch.float32:
            reasons.append(f"{name} is {x.dtype}; the native score head takes float32")
    return reasons


def forward(call: Call) -> tuple[Tensor, Tensor]:
    """Return ``(scores, slopes)``; the slopes are empty, see `schema.Call.keeps_slopes`."""
    features, K = call.features, call.weight.shape[2]
    taps = empty_rows(features, K)
    _chain(call).forward([taps])
    T = features.shape[1]
    taps = F.pad(taps, (0, 0, K - 1, 0))  # [B, K - 1 + T, K]
    logits = taps[:, :T, 0]
    for i in range(1, K):
        logits = logits + taps[:, i : i + T, i]
    scores = torch.sigmoid(logits).contiguous()
    return _without_padding(scores, call), features.new_empty(0)


def backward(
    grad_scores: Tensor, call: Call, scores: Tensor, need_input: bool, need_parameters: bool
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of features, weight and bias; None where nobody needs them."""
    features, K = call.features, call.weight.shape[2]
    grad = _without_padding(torch.ops.aten.sigmoid_backward(grad_scores, scores), call)
    # Row t went through tap i into logit t + K - 1 - i.
    T, ahead = features.shape[1], F.pad(grad, (0, K - 1))
    grad_taps = torch.stack([ahead[:, K - 1 - i : K - 1 - i + T] for i in range(K)], dim=2)
    grad_x = empty_rows(features, features.shape[2]) if need_input else features.new_empty(0)
    parameters = _chain(call).backward([grad_taps], grad_x, features.new_empty(0), need_parameters)
    return (
        grad_x if need_input else None,
        parameters.weights[0].mT[None].contiguous() if need_parameters else None,
        parameters.biases[0][-1:].clone() if need_parameters else None,
    )


def _chain(call: Call) -> Chain:
    # The bias is added to the last tap, the one that no snippet lacks: it reads the snippet itself.
    chain = Chain(call.features, call.lengths)
    chain.add([call.weight[0].mT], [F.pad(call.bias, (call.weight.shape[2] - 1, 0))])
    return chain


def _without_padding(x: Tensor, call: Call) -> Tensor:
    if call.lengths is None:
        return x
    return torch.where(_valid(call), x, 0)


def _valid(call: Call) -> Tensor:
    assert call.lengths is not None
    return torch.arange(call.features.shape[1]) < call.lengths[:, None]  # [B, T]
