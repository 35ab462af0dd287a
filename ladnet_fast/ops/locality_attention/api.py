"""The entry point of locality attention: checks the arguments and chooses the backend."""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor

from ... import _values
from .. import _checks, _impl, _memory
from . import definition, schema
from .layout import lse_dtype

PRIORS = ("additive", "logit", "none")
_NAME = "locality_attention"
_SHAPE = "(B, H, T, d)"


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
    _check(q, k, v, prior_w, prior_b, prior, lengths, cu_seqlens, impl)
    return_lse = _values.switch("return_lse", return_lse)
    scale = q.shape[-1] ** -0.5 if scale is None else _check_scale(scale, q)
    if prior == "none":
        prior_w = prior_b = None
    cast = _checks.autocast_dtype(q)
    if cast is not None and cast != q.dtype:
        for name, x in (("q", q), ("k", k), ("v", v)):
            _memory.check_given(name, x)
        q, k, v = (x.to(cast) for x in (q, k, v))
    if lengths is not None:
        lengths = _checks.checked_lengths(lengths, q.shape[2], 0)
    if cu_seqlens is not None:
        cu_seqlens = _checks.checked_cu_seqlens(cu_seqlens, q.shape[2], 0)

    backends = {name: module.why_not for name, module in schema.BACKENDS.items()}
    impl = _impl.choose(_NAME, impl, q.device, backends, q, k, v)
    # The packed reference loops over bags, whose sizes are data: a graph must not look inside.
    # On the meta device the operator answers with what its fake says.
    opaque = (cu_seqlens is not None and torch.compiler.is_compiling()) or q.device.type == "meta"
    if impl == "reference" and not opaque:
        given = {"q": q, "k": k, "v": v, "prior_w": prior_w, "prior_b": prior_b}
        for name, tensor in given.items():
            if tensor is not None:
                _memory.check_given(name, tensor)
        with torch.autocast(q.device.type, enabled=False):
            out, lse = definition.locality_attention(
                q, k, v, prior_w, prior_b,
                prior=prior, scale=scale, lengths=lengths, cu_seqlens=cu_seqlens,
            )  # fmt: skip
    else:
        tensors = [x for x in (q, k, v, prior_w, prior_b) if x is not None]
        training = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
        out, lse, _ = schema.attention_forward(
            q, k, v, prior_w, prior_b, lengths, cu_seqlens, prior, scale, training, impl
        )
    return (out, lse.detach()) if return_lse else out


def _check(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor | None,
    b: Tensor | None,
    prior: str,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    impl: str,
) -> None:
    _values.choice("prior", prior, PRIORS)
    _values.choice("impl", impl, _impl.IMPLS)
    for name, x in (("q", q), ("k", k), ("v", v)):
        _checks.check_floating(name, x, 4, _SHAPE)
        if x.shape != q.shape or x.dtype != q.dtype or x.device != q.device:
            raise ValueError(
                f"q, k and v must agree in shape, dtype and device; got q {tuple(q.shape)} "
                f"{q.dtype} on {q.device}, {name} {tuple(x.shape)} {x.dtype} on {x.device}"
            )
    if q.shape[3] == 0:
        raise ValueError("q, k and v must have a head size d of at least 1; got 0")
    if prior != "none":
        for name, entry in (("prior_w", w), ("prior_b", b)):
            _check_prior(name, entry, q, prior)
    if lengths is not None and cu_seqlens is not None:
        raise ValueError(_checks.BOTH_LAYOUTS)
    if lengths is not None:
        _checks.check_index_vector("lengths", lengths, q.shape[0], q)
    if cu_seqlens is not None:
        _checks.check_index_vector("cu_seqlens", cu_seqlens, None, q)
        if q.shape[0] != 1:
            raise ValueError(f"q must have B = 1 beside cu_seqlens; got B = {q.shape[0]}")


def _check_scale(scale: object, q: Tensor) -> float:
    dtype = lse_dtype(q.dtype)
    limit = torch.finfo(dtype).max
    allowed = f"a number that is finite in {dtype}, in which the logits are computed"
    return float(_values.real_number("scale", scale, allowed, least=-limit, most=limit))


def _check_prior(name: str, x: Tensor | None, q: Tensor, prior: str) -> None:
    heads, dtype = q.shape[1], lse_dtype(q.dtype)
    if x is None:
        raise ValueError(f"{name} must be a tensor of shape (H,) with prior={prior!r}; got None")
    _checks.check_floating(name, x, 1, "(H,)")
    if x.shape[0] != heads:
        raise ValueError(
            f"{name} must have one entry per head, shape ({heads},); got ({x.shape[0]},)"
        )
    if x.dtype != dtype or x.device != q.device:
        raise TypeError(
            f"{name} must be {dtype} on {q.device} beside q in {q.dtype}; "
            f"got {x.dtype} on {x.device}"
        )
