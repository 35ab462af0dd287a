"""What must hold of the arguments of locality attention, whoever calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ... import _native, _values
from .. import _checks
from .layout import lse_dtype

if TYPE_CHECKING:
    from .schema import Call

PRIORS = ("additive", "logit", "none")
_SHAPE = "(B, H, T, d)"


def check_tensors(
    q: Tensor, k: Tensor, v: Tensor, w: Tensor | None, b: Tensor | None, prior: str
) -> None:
    """Raise where types, shapes, dtypes or devices don't fit each other."""
    cpu: Any = _native.cpu
    if (
        cpu is not None
        and _native.reads_tensors
        and not torch.compiler.is_compiling()
        and cpu.attention_fit(q, k, v, w, b, prior)
    ):
        return  # what follows takes as long as attention in a short bag
    _values.choice("prior", prior, PRIORS)
    _checks.check_floating("q", q, 4, _SHAPE)
    shape, dtype, device = q.shape, q.dtype, q.device
    for name, x in (("k", k), ("v", v)):
        _checks.check_floating(name, x, 4, _SHAPE)
        if x.shape != shape or x.dtype is not dtype or x.device != device:
            raise ValueError(
                f"q, k and v must agree in shape, dtype and device; got q {tuple(shape)} {dtype} "
                f"on {device}, {name} {tuple(x.shape)} {x.dtype} on {x.device}"
            )
    if shape[3] == 0:
        raise ValueError("q, k and v must have a head size d of at least 1; got 0")
    if prior == "none":
        return
    heads, real = shape[1], lse_dtype(dtype)
    for name, entry in (("prior_w", w), ("prior_b", b)):
        if entry is None:
            raise ValueError(
                f"{name} must be a tensor of shape (H,) with prior={prior!r}; got None"
            )
        _checks.check_floating(name, entry, 1, "(H,)")
        if entry.shape[0] != heads:
            raise ValueError(
                f"{name} must have one entry per head, shape ({heads},); got ({entry.shape[0]},)"
            )
        if entry.dtype is not real or entry.device != device:
            raise TypeError(
                f"{name} must be {real} on {device} beside q in {dtype}; "
                f"got {entry.dtype} on {entry.device}"
            )


def check_scale(scale: object, q: Tensor) -> float:
    """Return the scale as a float, or raise where the logits' dtype does not hold it."""
    dtype = lse_dtype(q.dtype)
    limit = torch.finfo(dtype).max
    allowed = f"a number that is finite in {dtype}, in which the logits are computed"
    return float(_values.real_number("scale", scale, allowed, least=-limit, most=limit))


def check_saved(call: Call, grad_out: Tensor, attended: Tensor, lse: Tensor) -> None:
    """Raise where a backward pass is given other tensors than the forward pass has left.

    Hooks on saved tensors may return anything. ``attended`` is what the gradient's row sums need:
    ``softmax_out`` with the additive prior, else ``out``.
    """
    q, expect = call.q, _checks.expect
    shape, dtype, device = q.shape, q.dtype, q.device
    B, H, T, _ = shape
    name = "softmax_out" if call.prior == "additive" else "out"
    for given, x in (("k", call.k), ("v", call.v), ("grad_out", grad_out), (name, attended)):
        expect(given, x, device, shape, dtype)
    real = lse_dtype(dtype)
    expect("lse", lse, device, (B, H, T), real)
    if call.w is not None and call.b is not None:
        expect("prior_w", call.w, device, (H,), real)
        expect("prior_b", call.b, device, (H,), real)
    if call.lengths is not None:
        expect("lengths", call.lengths, device, (B,), torch.int64)
    if call.cu_seqlens is not None:
        expect("cu_seqlens", call.cu_seqlens, device, call.cu_seqlens.shape[:1], torch.int64)
