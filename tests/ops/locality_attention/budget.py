"""The error budget of locality attention: what a backend returned, against float64."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ladnet_fast.ops.locality_attention import reference

from .cases import oracle

#: Results of both passes, in the order of :func:`assert_results_within_budget`; lse comes last.
NAMES = ("out", "dq", "dk", "dv", "dw", "db")


def same_dtype_reference(
    q: Tensor, k: Tensor, v: Tensor, w: Tensor, b: Tensor, grad_out: Tensor, **options: object
) -> tuple[Tensor, ...]:
    """Return what the reference computes in the tested dtype, in the order of :data:`NAMES`."""
    leaves = [x.detach().requires_grad_() for x in (q, k, v, w, b)]
    options = {"scale": q.shape[-1] ** -0.5, **options}
    out, _ = reference.locality_attention(*leaves, **options)
    return (out.detach(), *torch.autograd.grad(out, leaves, grad_out, materialize_grads=True))


def assert_results_within_budget(
    actual: Sequence[Tensor | None],
    inputs: Sequence[Tensor],
    grad_out: Tensor,
    prior: str,
    *,
    operand_eps: float = 0.0,
    **options: object,
) -> None:
    """Check every output and gradient: at most twice the reference's own error plus one rounding.

    The reference's error is taken in the tested dtype against float64 with the same inputs.

    Parameters
    ----------
    actual
        What a backend returned, in the order of :data:`NAMES`, and lse; None for dw and db without
        a prior.
    inputs
        q, k, v, w, b.
    operand_eps
        What products round their operands to, where that is coarser than the dtype: tf32.
    options
        ``lengths`` or ``cu_seqlens``.
    """
    exact = oracle(*inputs, grad_out, prior=prior, **options)
    plain = same_dtype_reference(*inputs, grad_out, prior=prior, **options)
    lse = actual[-1]
    # The backward pass rebuilds probabilities from lse, which was rounded once.
    from_lse = torch.finfo(lse.dtype).eps * lse.abs().max()
    terms = _prior_terms(*inputs, grad_out, prior=prior, **options)
    for name, a, e, p in zip(NAMES, actual, exact, plain, strict=False):
        if a is None:
            assert prior == "none"
            continue
        assert a.shape == e.shape
        assert torch.isfinite(a).all(), name
        eps = max(torch.finfo(a.dtype).eps, operand_eps)
        if name in terms:
            # delta = <dO, A> comes from A as it was stored, in the dtype of q.
            band = (max(torch.finfo(inputs[0].dtype).eps, operand_eps) + from_lse) * terms[name]
        else:
            band = (eps + (0 if name == "out" else from_lse)) * e.abs().max()
        if a.dtype == torch.float64:  # the oracle is no better than what is tested
            band = 32 * band
        error, own = (a.double() - e).abs().max(), (p.double() - e).abs().max()
        assert error <= 2 * (own + band), (name, float(error), float(own), float(band))
    assert actual[0].dtype == inputs[0].dtype


def _prior_terms(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor,
    b: Tensor,
    grad_out: Tensor,
    *,
    prior: str,
    lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return how large what is added up to dw and db is: these sums cancel.

    Errors of one row of the attention go together, those of different rows do not: the terms'
    magnitudes are added along a row, and the rows by their squares.
    """
    if prior == "none":
        return {}
    T = q.shape[2]
    row = torch.arange(T)
    q, k, v, w, b, grad_out = (x.double() for x in (q, k, v, w, b, grad_out))
    if cu_seqlens is not None:
        bag = torch.searchsorted(cu_seqlens.long(), row, right=True)
        together = bag[:, None] == bag[None, :]
    elif lengths is not None:
        inside = row < lengths[:, None]
        together = (inside[:, :, None] & inside[:, None, :])[:, None]
    else:
        together = torch.ones(T, T, dtype=torch.bool)
    G = reference.location_prior(w, b, T)
    size = torch.where(together, (grad_out @ v.transpose(-1, -2)).abs(), 0)  # [B, H, T, T]
    if prior == "logit":
        logits = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + G
        P = logits.masked_fill(~together, -torch.inf).softmax(dim=-1).nan_to_num()
        size = P * (size + (P * size).sum(dim=-1, keepdim=True))
    size = size * G
    distance2 = (row[:, None] - row[None, :]).double().square()
    return {
        name: (size * weight).sum(dim=-1).square().sum(dim=(0, 2)).sqrt().max()
        for name, weight in (("dw", distance2), ("db", torch.ones_like(distance2)))
    }
