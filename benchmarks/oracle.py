"""The attention's reference for any length: a block of query rows at a time.

It repeats the formulas of the reference line for line, in whatever dtype it is given, but holds
only a slice of each (T, T) matrix; the backward pass computes a slice again. So the float64 oracle
reaches lengths at which the reference itself would need tens of gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ladnet_fast.ops.locality_attention.layout import lse_dtype

#: Elements of a slice: 128 MiB in float64.
_SLICE = 2**24


def attention_rows(
    q: Tensor,
    positions: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor | None,
    b: Tensor | None,
    prior: str,
    scale: float,
) -> Tensor:
    """Attend from some rows to a whole bag.

    Parameters
    ----------
    q : Tensor
        (B, H, R, d), the queries of R snippets.
    positions : Tensor
        (R,) integer, where these snippets are in the bag.
    k, v : Tensor
        (B, H, T, d).
    w, b : Tensor or None
        (H,), the prior's parameters.
    prior, scale
        As in :func:`ladnet_fast.functional.locality_attention`.

    Returns
    -------
    Tensor
        (B, H, R, d).
    """
    logits = (q @ k.mT).to(lse_dtype(q.dtype)) * scale
    G = None
    if prior != "none" and w is not None and b is not None:
        columns = torch.arange(k.shape[2], device=k.device, dtype=w.dtype)
        distance2 = (positions.to(w.dtype)[:, None] - columns).square()  # [R, T]
        G = torch.exp(-(w[:, None, None] * distance2 + b[:, None, None]).abs())
    if prior == "logit" and G is not None:
        logits = logits + G
    weights = logits.softmax(dim=-1)
    if prior == "additive" and G is not None:
        weights = weights + G
    return weights.to(v.dtype) @ v


def blockwise_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    prior_w: Tensor | None = None,
    prior_b: Tensor | None = None,
    *,
    prior: str = "additive",
    scale: float | None = None,
    lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    impl: str = "reference",
) -> Tensor:
    """Compute :func:`ladnet_fast.functional.locality_attention` of full bags, block by block.

    ``impl`` is taken and not looked at, so that this can stand in for the public function.
    """
    if lengths is not None or cu_seqlens is not None:
        raise ValueError("full bags only: leave lengths and cu_seqlens out")
    B, H, T, d = q.shape
    scale = d**-0.5 if scale is None else scale
    size = max(1, _SLICE // max(1, B * H * T))
    outs = []
    for start in range(0, T, size):
        positions = torch.arange(start, min(start + size, T), device=q.device)
        rows = q[:, :, start : start + size]
        arguments = (rows, positions, k, v, prior_w, prior_b, prior, scale)
        if torch.is_grad_enabled():
            outs.append(checkpoint(attention_rows, *arguments, use_reentrant=False))
        else:
            outs.append(attention_rows(*arguments))
    return torch.cat(outs, dim=2)


def rounding_scales(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor,
    b: Tensor,
    grad: Tensor,
    *,
    prior: str,
    scale: float,
) -> tuple[float, dict[str, float]]:
    """Return by how much roundings grow on the way to the gradients.

    Returns
    -------
    lse : float
        The largest magnitude of the softmax's logarithmic sum. A backward pass in linear memory
        rebuilds probabilities from that sum, which was rounded once: a relative error of epsilon
        times its magnitude.
    sizes : dict of str to float
        The size of what is added up to "dw" and "db", T^2 terms of either sign; empty without the
        prior. Errors within a row go together, since they share its softmax; those of different
        rows do not. So magnitudes are added along a row, and the rows by their squares.
    """
    T = q.shape[2]
    columns = torch.arange(T, device=q.device, dtype=torch.float64)
    q, k, v, w, b, grad = (x.detach().double() for x in (q, k, v, w, b, grad))
    squares = torch.zeros(2, q.shape[1], dtype=torch.float64, device=q.device)
    largest = 0.0
    step = max(1, _SLICE // max(1, q.shape[0] * q.shape[1] * T))
    for start in range(0, T, step):
        rows = slice(start, start + step)
        logits = (q[:, :, rows] @ k.mT) * scale
        distance2 = (columns[rows, None] - columns).square()
        G = torch.exp(-(w[:, None, None] * distance2 + b[:, None, None]).abs())
        if prior == "logit":
            logits = logits + G
        largest = max(largest, float(logits.logsumexp(dim=-1).abs().max()))
        if prior == "none":
            continue
        size = (grad[:, :, rows] @ v.mT).abs()
        if prior == "logit":
            P = logits.softmax(dim=-1)
            size = P * (size + (P * size).sum(dim=-1, keepdim=True))
        size = size * G
        for i, terms in enumerate((size * distance2, size)):
            squares[i] += terms.sum(dim=-1).square().sum(dim=(0, 2))
    if prior == "none":
        return largest, {}
    dw, db = squares.sqrt().amax(dim=1).tolist()
    return largest, {"dw": dw, "db": db}


def gradient_scales(
    lse: float, sizes: dict[str, float], truth: Mapping[str, Tensor], dtype: torch.dtype
) -> dict[str, float]:
    """Return what a rounding of the gradients is in proportion to.

    The attention's output is stored in ``dtype`` for the backward pass, its logarithmic sum in
    float32 or better: both roundings reach every gradient, whatever that is stored in.

    Parameters
    ----------
    lse, sizes
        As :func:`rounding_scales` returns them.
    truth : dict of str to Tensor
        The exact gradients.
    dtype : torch.dtype
        Of q, k and v.
    """
    stored, summed = (torch.finfo(x).eps for x in (dtype, lse_dtype(dtype)))
    largest = {name: float(truth[name].abs().max()) for name in ("dq", "dk", "dv")}
    return {
        **{name: (1 + lse * summed / stored) * size for name, size in largest.items()},
        **{name: (stored / summed + lse) * size for name, size in sizes.items()},
    }


@contextmanager
def blockwise_networks() -> Iterator[None]:
    """Let every LANet in the block use :func:`blockwise_attention`."""
    with mock.patch("ladnet_fast.nn.attention.locality_attention", blockwise_attention):
        yield
