"""The backend "reference": plain PyTorch, with the backward pass in closed form.

It serves the meta device. Elsewhere ``impl="reference"`` calls `definition`, and autograd
differentiates.

This is the derivation that the kernels follow, without their blocks. With z the logits and g the
gradient of the scores, 0 on padding,

    dz_t     = g_t S_t (1 - S_t)
    dx_{t,c} = sum_i dz_{t + K-1-i} w_{c,i}
    dw_{c,i} = sum_t dz_{t + K-1-i} x_{t,c}            db = sum_t dz_t,

where dz beyond the bag's end is 0: row t went through tap i into logit t + K-1-i.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from . import definition
from .layout import slope_dtype

if TYPE_CHECKING:
    from .schema import Call


def why_not(features: Tensor, weight: Tensor, bias: Tensor) -> list[str]:
    """Return no reasons: the reference serves everything that the checks let through."""
    return []


def forward(call: Call) -> tuple[Tensor, Tensor]:
    """Return ``(scores, slopes)`` as `schema` describes them."""
    given = call.features, call.weight, call.bias, call.lengths
    scores = definition.score_head(*given).contiguous()
    wide = slope_dtype(call.features.dtype)
    if not call.training:
        return scores, call.features.new_empty(0, dtype=wide)
    features, weight, bias = (x.to(wide) for x in given[:3])
    exact = definition.score_head(features, weight, bias, call.lengths)
    # 0 on padding, as the scores are.
    return scores, exact * (1 - exact)


def backward(
    grad_scores: Tensor, call: Call, slopes: Tensor, need_input: bool, need_parameters: bool
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of features, weight and bias; None where nobody needs them."""
    features, weight, lengths = call.features, call.weight, call.lengths
    T, K = features.shape[1], weight.shape[2]
    x, grad = features.to(slopes.dtype), grad_scores.to(slopes.dtype)
    if lengths is not None:
        valid = torch.arange(T, device=features.device) < lengths[:, None]
        x, grad = torch.where(valid[..., None], x, 0), torch.where(valid, grad, 0)
    ahead = F.pad(grad * slopes, (0, K - 1)).unfold(1, K, 1).flip(2)  # [B, T, K]: dz_{t + K-1-i}
    grad_x = grad_weight = grad_bias = None
    if need_input:
        grad_x = (ahead @ weight[0].mT.to(x.dtype)).to(features.dtype)
    if need_parameters:
        grad_weight = torch.einsum("btc,btk->ck", x, ahead)[None].to(weight.dtype)
        grad_bias = (grad * slopes).sum().reshape(1).to(weight.dtype)
    return grad_x, grad_weight, grad_bias
