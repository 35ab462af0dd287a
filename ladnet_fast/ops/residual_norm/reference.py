"""The backend "reference": plain PyTorch, with the backward pass in closed form.

It serves the meta device. Elsewhere ``impl="reference"`` calls `definition`, and autograd
differentiates.

This is the derivation that the kernels follow, without their blocks; kernels/residual_norm has it
in words. With n the normalised rows, r one over their deviation and g the gradient of the result,
0 on padding,

    dw = sum_t g_t n_t        db = sum_t g_t
    ds = r (g w - mean(g w) - n mean(g w n)),

the gradient of x and of hidden alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import definition

if TYPE_CHECKING:
    from .schema import Call


def why_not(x: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor) -> list[str]:
    """Return no reasons: the reference serves everything that the checks let through."""
    return []


def forward(call: Call) -> Tensor:
    """Return the normalised rows as `schema` describes them."""
    return definition.residual_norm(*call[:7]).contiguous()


def backward(
    grad: Tensor, call: Call, need_x: bool, need_hidden: bool, need_parameters: bool
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of x, hidden, weight and bias; None where nobody needs them."""
    wide = torch.promote_types(torch.promote_types(call.x.dtype, call.hidden.dtype), torch.float32)
    x, hidden, weight, grad = (y.to(wide) for y in (call.x, call.hidden, call.weight, grad))
    if call.lengths is not None:
        rows = torch.arange(x.shape[1], device=x.device) < call.lengths[:, None]
        x, hidden, grad = (torch.where(rows[..., None], y, 0) for y in (x, hidden, grad))
    centred = x + hidden
    centred = centred - centred.mean(dim=2, keepdim=True)
    scale = torch.rsqrt(centred.square().mean(dim=2, keepdim=True) + call.eps)
    normal = centred * scale
    grad_x = grad_hidden = grad_weight = grad_bias = None
    if need_x or need_hidden:
        inner = grad * weight
        slope = (inner * normal).mean(dim=2, keepdim=True)
        total = scale * (inner - inner.mean(dim=2, keepdim=True) - normal * slope)
        if call.lengths is not None:
            total = torch.where(rows[..., None], total, 0)
        total = total.contiguous()
        # Never one tensor twice: an operator's results have memory of their own.
        grad_x = total.to(call.x.dtype) if need_x else None
        grad_hidden = total.to(call.hidden.dtype, copy=True) if need_hidden else None
    if need_parameters:
        grad_weight = (grad * normal).sum(dim=(0, 1)).to(call.weight.dtype)
        grad_bias = grad.sum(dim=(0, 1)).to(call.weight.dtype)
    return grad_x, grad_hidden, grad_weight, grad_bias
