"""What must hold of the arguments of the score head, whoever calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import _checks
from .layout import slope_dtype

if TYPE_CHECKING:
    from .schema import Call


def check_tensors(features: Tensor, weight: Tensor, bias: Tensor) -> None:
    """Raise where types, shapes or devices don't fit each other."""
    _checks.check_floating("features", features, 3, "(B, T, C)")
    C = features.shape[2]
    _checks.check_floating("weight", weight, 3, f"(1, {C}, K)")
    _checks.check_floating("bias", bias, 1, "(1,)")
    if C == 0:
        raise ValueError("features must have a width C of at least 1; got 0")
    if weight.shape[:2] != (1, C) or weight.shape[2] < 1:
        raise ValueError(
            f"weight must have shape (1, {C}, K) with K of at least 1; got {tuple(weight.shape)}"
        )
    if bias.shape[0] != 1:
        raise ValueError(f"bias must have shape (1,); got {tuple(bias.shape)}")
    for name, x in (("weight", weight), ("bias", bias)):
        if x.device != features.device:
            raise ValueError(
                f"{name} must be on {features.device}, as features are; got {x.device}. "
                f"Move it with {name}.to({str(features.device)!r})."
            )


def check_dtypes(features: Tensor, weight: Tensor, bias: Tensor) -> None:
    """Raise where weight or bias has another dtype than the features."""
    for name, x in (("weight", weight), ("bias", bias)):
        if x.dtype != features.dtype:
            raise TypeError(
                f"{name} must be {features.dtype} like features; got {x.dtype}. Convert it with "
                f"{name}.to(features.dtype)."
            )


def check_saved(call: Call, grad_scores: Tensor, saved: Tensor) -> None:
    """Raise where a backward pass is given other tensors than the forward pass has left.

    Hooks on saved tensors may return anything. ``saved`` is what the backend needs of the result.
    """
    features = call.features
    check_tensors(features, call.weight, call.bias)
    check_dtypes(features, call.weight, call.bias)
    B, T, _ = features.shape
    _checks.expect("grad_scores", grad_scores, features.device, (B, T), features.dtype)
    name = "slopes" if call.keeps_slopes else "scores"
    dtype = slope_dtype(features.dtype) if call.keeps_slopes else features.dtype
    _checks.expect(name, saved, features.device, (B, T), dtype)
    if call.lengths is not None:
        _checks.expect("lengths", call.lengths, features.device, (B,), torch.int64)
