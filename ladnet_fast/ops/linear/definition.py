"""The linear layers as PyTorch functions that autograd differentiates: the operators' definition.

The native kernels are compared with it, in float64. Where the backend "reference" is chosen, LANet
calls its modules, which compute the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def why_not(*tensors: Tensor) -> list[str]:
    """Return no reasons: PyTorch serves everything."""
    return []


def projections(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], lengths: Tensor | None
) -> list[Tensor]:
    """Compute ``x @ W.T + b`` for every weight; see `ladnet_fast.ops.linear.projections`."""
    x = zero_padding(x, lengths)
    return [zero_padding(F.linear(x, w, b), lengths) for w, b in zip(weights, biases, strict=True)]


def residual_mlp(
    x: Tensor,
    residual: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    keeps: Sequence[Tensor],
    keep_scale: float,
    eps: float,
    lengths: Tensor | None,
) -> Tensor:
    """Compute residual, LayerNorm and MLP; see `ladnet_fast.ops.linear.residual_mlp`.

    ``keeps`` holds one boolean mask per layer of the MLP, or nothing: what dropout keeps is
    multiplied by ``keep_scale``.
    """
    x, residual = zero_padding(x, lengths), zero_padding(residual, lengths)
    y = F.linear(x, weights[0], biases[0]) + residual
    y = F.layer_norm(y, y.shape[-1:], norm_weight, norm_bias, eps)
    for i, (w, b) in enumerate(zip(weights[1:], biases[1:], strict=True)):
        if i:
            y = F.gelu(y)
            y = y * keeps[i - 1] * keep_scale if keeps else y
        y = F.linear(y, w, b)
    y = y * keeps[-1] * keep_scale if keeps else y
    return zero_padding(y, lengths)


def zero_padding(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Return x (B, T, width) with zeros beyond every bag's length, whatever was there."""
    if lengths is None:
        return x
    valid = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
    return torch.where(valid[..., None], x, 0)
