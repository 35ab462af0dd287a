"""Mask, residual and LayerNorm as a PyTorch function: the operator's definition.

Every backend is compared with it, in float64.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def residual_norm(
    x: Tensor,
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    lengths: Tensor | None,
    eps: float,
    dtype: torch.dtype,
) -> Tensor:
    """Return the normalised rows; arguments as in `ladnet_fast.ops.residual_norm.residual_norm`.

    Checked arguments only: this function trusts its caller.
    """
    valid = None
    if lengths is not None:
        valid = (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[..., None]
        x, hidden = torch.where(valid, x, 0), torch.where(valid, hidden, 0)
    total = x + hidden
    wide = torch.promote_types(total.dtype, weight.dtype)
    given = total.to(wide), weight.to(wide), bias.to(wide)
    out = F.layer_norm(given[0], (x.shape[2],), given[1], given[2], eps)
    if valid is not None:
        out = torch.where(valid, out, 0)
    return out.to(dtype)
