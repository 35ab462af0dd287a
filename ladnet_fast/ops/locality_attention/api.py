"""The entry point of locality attention: checks the arguments and chooses the backend."""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor

from ... import _values
from .. import _checks, _impl, _memory
from .._bags import Bags
from . import definition, plain, schema
from .checks import PRIORS, check_scale, check_tensors

__all__ = ["PRIORS", "attend", "locality_attention"]
_NAME = "locality_attention"
_WHY_NOT = {name: module.why_not for name, module in schema.BACKENDS.items()}


@overload
def locality_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    prior_w: Tensor | None = ...,
    prior_b: Tensor | None = ...,
    *,
    prior: str = ...,
    scale: float | None = ...,
    lengths: Tensor | None = ...,
    cu_seqlens: Tensor | None = ...,
    impl: str = ...,
    return_lse: Literal[False] = ...,
) -> Tensor: ...
@overload
def locality_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    prior_w: Tensor | None = ...,
    prior_b: Tensor | None = ...,
    *,
    prior: str = ...,
    scale: float | None = ...,
    lengths: Tensor | None = ...,
    cu_seqlens: Tensor | None = ...,
    impl: str = ...,
    return_lse: Literal[True],
) -> tuple[Tensor, Tensor]: ...
def locality_attention(
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
    impl: str = "auto",
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Compute attention with a learnable prior of the distance between snippets.

    With :math:`R = \mathrm{scale} \cdot q k^\top` and
    :math:`G_{ij} = \exp(-|w (i - j)^2 + b|)`, for each bag and head,

    ========== ==========================================
    prior      out
    ========== ==========================================
    "additive" :math:`(\mathrm{softmax}(R) + G)\, v`
    "logit"    :math:`\mathrm{softmax}(R + G)\, v`
    "none"     :math:`\mathrm{softmax}(R)\, v`
    ========== ==========================================

    The additive form is LA-Net's (slide 8 of the authors' ICME 2022 presentation): the prior is
    added after the softmax and nothing is normalised again. The logit form is what the authors'
    released code of related papers computes. The Gaussian prior of width sigma is
    ``w = 1 / (2 sigma), b = 0``.

    Parameters
    ----------
    q, k, v : Tensor
        (B, H, T, d), one dtype of float32, float64, bfloat16, float16 on one device; any strides.
        Under autocast they are cast to its dtype. On the meta device the outputs are too: they
        have shapes and dtypes only.
    prior_w, prior_b : Tensor or None
        (H,), float32 (float64 beside float64 ``q``), one pair per head. Any sign. None only with
        ``prior="none"``.
    prior : {"additive", "logit", "none"}
        Where the prior enters.
    scale : float, optional
        Factor of the logits, finite in the dtype that the logits are computed in (float32; float64
        for float64 ``q``); 1 / sqrt(d) if not given.
    lengths : Tensor, optional
        (B,) int32 or int64: bag b holds snippets 0 .. lengths[b] - 1, the rest is padding. Padded
        content is never read, NaN included; padded rows of ``out`` are 0 and send no gradient.
    cu_seqlens : Tensor, optional
        (N + 1,) int32 or int64: N bags packed end to end along T, bag n from cu_seqlens[n] to
        cu_seqlens[n + 1]; B must be 1. Bags of length zero are allowed. Excludes ``lengths``.
    impl : {"auto", "reference", "native", "triton", "cuda"}
        Who computes; see `ladnet_fast.use_impl`.
    return_lse : bool
        Also return the logarithm of the softmax's sum.

    Returns
    -------
    out : Tensor
        (B, H, T, d), dtype of ``q``.
    lse : Tensor
        Only with ``return_lse``: (B, H, T), float32 (float64 for float64), the natural logarithm of
        the sum of exponentials of the softmax's own logits. Not differentiable; unspecified on
        padded rows.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape, dtype, device or value; the message names it.
    ladnet_fast.ImplUnavailableError
        If a named ``impl`` cannot serve; the message lists every reason.
    """
    if lengths is None and cu_seqlens is None and return_lse is False:
        out = plain.attend(q, k, v, prior_w, prior_b, None, prior, scale, impl)
        if out is not None:
            return out
    check_tensors(q, k, v, prior_w, prior_b, prior)
    bags = Bags.checked("q", q, q.shape[2], lengths, cu_seqlens)
    return_lse = _values.switch("return_lse", return_lse)
    out, lse = _attend(q, k, v, prior_w, prior_b, bags, prior, scale, impl)
    return (out, lse.detach()) if return_lse else out


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    prior_w: Tensor | None,
    prior_b: Tensor | None,
    bags: Bags,
    *,
    prior: str,
    impl: str,
) -> Tensor:
    """Compute what `locality_attention` does for a batch whose bags have been checked."""
    out = plain.attend(q, k, v, prior_w, prior_b, bags, prior, None, impl)
    if out is not None:
        return out
    check_tensors(q, k, v, prior_w, prior_b, prior)
    bags.check_fits("q", q, q.shape[2])
    return _attend(q, k, v, prior_w, prior_b, bags, prior, None, impl)[0]


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor | None,
    b: Tensor | None,
    bags: Bags,
    prior: str,
    scale: float | None,
    impl: str,
) -> tuple[Tensor, Tensor]:
    """Return out and lse; all but the numbers and names has been checked."""
    scale = q.shape[-1] ** -0.5 if scale is None else check_scale(scale, q)
    if prior == "none":
        w = b = None
    cast = _checks.autocast_dtype(q)
    if cast is not None and cast != q.dtype:
        for name, x in (("q", q), ("k", k), ("v", v)):
            _memory.check_given(name, x)
        q, k, v = (x.to(cast) for x in (q, k, v))
    impl = _impl.choose(_NAME, impl, q.device, _WHY_NOT, q, k, v)
    if impl == "reference" and not _is_opaque(q, bags):
        given = {"q": q, "k": k, "v": v, "prior_w": w, "prior_b": b}
        for name, tensor in given.items():
            if tensor is not None:
                _memory.check_given(name, tensor)
        with torch.autocast(q.device.type, enabled=False):
            return definition.locality_attention(
                q, k, v, w, b,
                prior=prior, scale=scale, lengths=bags.lengths, cu_seqlens=bags.cu_seqlens,
            )  # fmt: skip
    training = torch.is_grad_enabled() and (
        q.requires_grad
        or k.requires_grad
        or v.requires_grad
        or (w is not None and w.requires_grad)
        or (b is not None and b.requires_grad)
    )
    out, lse, _ = schema.attention_forward(
        schema.Call(q, k, v, w, b, bags.lengths, bags.cu_seqlens, prior, scale, training, impl)
    )
    return out, lse


def _is_opaque(q: Tensor, bags: Bags) -> bool:
    # The packed reference loops over bags, whose sizes are data: a graph must not look inside.
    # On the meta device the operator answers with what its fake says.
    return q.is_meta or (bags.cu_seqlens is not None and torch.compiler.is_compiling())
