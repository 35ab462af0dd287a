"""The backend "reference": plain PyTorch, with the backward pass in closed form.

It serves packed bags under torch.compile, whose sizes are data that a graph must not read, and the
meta device. Elsewhere ``impl="reference"`` calls `definition`, and autograd differentiates.

This is the derivation that the kernels follow, without their tiles. With P the softmax of the
logits, dO the gradient of the output and A = P V,

    dP    = dO V^T                         delta_i = <dO_i, A_i>
    dS    = P (dP - delta)                 dQ = scale dS K       dK = scale dS^T Q
    dV    = P^T dO        (+ G^T dO, additive)
    dG    = dP (additive) or dS (logit)
    dw    = sum dG G (-sign(w d^2 + b)) d^2,   db the same without d^2.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from . import definition
from .checks import check_saved
from .layout import empty_output

if TYPE_CHECKING:
    from .schema import Call


def why_not(q: Tensor, k: Tensor, v: Tensor) -> list[str]:
    """Return no reasons: the reference serves everything that the checks let through."""
    return []


def forward(call: Call) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return ``(out, lse, softmax_out)`` as `schema` describes them."""
    q, k, v = call.q, call.k, call.v
    options: dict[str, Any] = {
        "scale": call.scale, "lengths": call.lengths, "cu_seqlens": call.cu_seqlens
    }  # fmt: skip
    out, lse = definition.locality_attention(q, k, v, call.w, call.b, prior=call.prior, **options)
    softmax_out = None
    if call.training and call.prior == "additive":
        part, _ = definition.locality_attention(q, k, v, None, None, prior="none", **options)
        softmax_out = empty_output(q).copy_(part)
    return empty_output(q).copy_(out), lse.contiguous(), softmax_out


def backward(
    grad_out: Tensor, call: Call, attended: Tensor, lse: Tensor, need_prior_grad: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """Return the gradients of q, k, v, w and b, bag by bag."""
    check_saved(call, grad_out, attended, lse)
    q, k, v, w, b = call[:5]
    grads = [empty_output(q).zero_() for _ in range(3)]
    dw = db = None
    if need_prior_grad and w is not None and b is not None:
        dw, db = torch.zeros_like(w), torch.zeros_like(b)
    for n, rows in _bags(call):
        bag = _Bag(*(x[n, :, rows].to(lse.dtype) for x in (grad_out, q, k, v, attended)))
        dS, weights, dG = _attention_gradients(bag, call)
        grads[0][n, :, rows] = call.scale * (dS @ bag.k)
        grads[1][n, :, rows] = call.scale * (dS.mT @ bag.q)
        grads[2][n, :, rows] = weights.mT @ bag.grad_out
        if dw is not None and db is not None and w is not None and b is not None:
            G, distance2, sign = _prior_parts(w, b, dG.shape[-1])
            slope = -sign * G * dG
            dw += (slope * distance2).sum(dim=(1, 2))
            db += slope.sum(dim=(1, 2))
    return grads[0], grads[1], grads[2], dw, db


def _bags(call: Call) -> list[tuple[int, slice]]:
    """Return for every bag its index in the batch and its snippets along T."""
    if call.cu_seqlens is not None:
        bounds = call.cu_seqlens.tolist()
        return [(0, slice(*pair)) for pair in itertools.pairwise(bounds)]
    B, _, T, _ = call.q.shape
    sizes = [T] * B if call.lengths is None else call.lengths.tolist()
    return [(n, slice(0, size)) for n, size in enumerate(sizes)]


def _prior_parts(w: Tensor, b: Tensor, T: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return G (H, T, T), the squared distance (T, T) and the sign of w d^2 + b (H, T, T)."""
    position = torch.arange(T, device=w.device, dtype=w.dtype)
    distance2 = (position[:, None] - position[None, :]).square()
    exponent = w[:, None, None] * distance2 + b[:, None, None]
    return torch.exp(-exponent.abs()), distance2, exponent.sign()


class _Bag(NamedTuple):
    """One bag, each (H, T, d) in the dtype of sums; ``attended`` is A."""

    grad_out: Tensor
    q: Tensor
    k: Tensor
    v: Tensor
    attended: Tensor


def _attention_gradients(bag: _Bag, call: Call) -> tuple[Tensor, Tensor, Tensor]:
    """Return dS, the weights of v, and dG of one bag, each (H, T, T)."""
    w, b = call.w, call.b
    logits = (bag.q @ bag.k.mT) * call.scale
    G = None if w is None or b is None else _prior_parts(w, b, bag.q.shape[1])[0]
    if G is not None and call.prior == "logit":
        logits = logits + G
    P = logits.softmax(dim=-1)
    dP = bag.grad_out @ bag.v.mT
    delta = (bag.grad_out * bag.attended).sum(dim=-1, keepdim=True)
    dS = P * (dP - delta)
    if G is not None and call.prior == "additive":
        return dS, P + G, dP
    return dS, P, dS
