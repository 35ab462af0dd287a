"""What must hold of the arguments of mask, residual and LayerNorm, whoever calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import _checks

if TYPE_CHECKING:
    from .schema import Call

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def check_tensors(
    x: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype
) -> None:
    """Raise where types, shapes or devices don't fit each other."""
    _checks.check_floating("x", x, 3, "(B, T, D)")
    D = x.shape[2]
    if D == 0:
        raise ValueError("x must have a width D of at least 1; got 0")
    _checks.check_floating("hidden", hidden, 3, f"{tuple(x.shape)}")
    if hidden.shape != x.shape:
        raise ValueError(
            f"hidden must have the shape of x, {tuple(x.shape)}; got {tuple(hidden.shape)}"
        )
    for name, y in (("weight", weight), ("bias", bias)):
        _checks.check_floating(name, y, 1, f"({D},)")
        if y.shape[0] != D:
            raise ValueError(f"{name} must have shape ({D},), like the rows of x; got {y.shape[0]}")
    if bias.dtype != weight.dtype:
        raise TypeError(
            f"bias must be {weight.dtype} like weight; got {bias.dtype}. Convert it with "
            f"bias.to(weight.dtype)."
        )
    for name, y in (("hidden", hidden), ("weight", weight), ("bias", bias)):
        if y.device != x.device:
            raise ValueError(
                f"{name} must be on {x.device}, as x is; got {y.device}. "
                f"Move it with {name}.to({str(x.device)!r})."
            )
    if dtype not in _DTYPES:
        raise TypeError(f"dtype must be float32, float64, bfloat16 or float16; got {dtype}")


def check_saved(call: Call, grad: Tensor) -> None:
    """Raise where a backward pass is given other tensors than the forward pass has left.

    Hooks on saved tensors may return anything.
    """
    check_tensors(call.x, call.hidden, call.weight, call.bias, call.dtype)
    device = call.x.device
    _checks.expect("grad", grad, device, call.x.shape, call.dtype)
    if call.lengths is not None:
        _checks.expect("lengths", call.lengths, device, (call.x.shape[0],), torch.int64)
