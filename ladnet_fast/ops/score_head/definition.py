"""The score head as a PyTorch function that autograd differentiates: the operator's definition.

Every backend is compared with it, in float64.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def score_head(features: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the scores; arguments as in `ladnet_fast.ops.score_head.score_head`.

    Checked arguments only: this function trusts its caller.
    """
    if features.shape[0] == 0 or features.shape[1] == 0:  # a convolution needs an input
        return features.new_empty(features.shape[:2]) + 0 * (weight.sum() + bias.sum())
    valid = None
    if lengths is not None:
        valid = torch.arange(features.shape[1], device=features.device) < lengths[:, None]
        features = torch.where(valid[..., None], features, 0)
    causal = F.pad(features.mT, (weight.shape[2] - 1, 0))  # [B, C, K - 1 + T]
    scores = torch.sigmoid(F.conv1d(causal, weight, bias)).squeeze(1)
    return scores if valid is None else torch.where(valid, scores, 0)
