"""The entry point of the score head: checks the arguments, chooses the fused kernel or not.

The layer belongs to `ladnet_fast.LANet`, whose convolution holds the weights; there is no
public function. Where the kernel does not serve, the network calls that module as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .. import _checks, _impl, _memory
from . import definition, schema

_NAME = "score_head"


def serves(impl: str, features: Tensor, weight: Tensor, bias: Tensor) -> bool:
    """Whether the fused kernel computes the score head of this call, else PyTorch does.

    It does where ``impl`` (after `ladnet_fast.use_impl` and ``LADNET_IMPL``) is "triton", or
    "auto" with tensors on a GPU that it can serve.

    Parameters
    ----------
    impl : str
        As given to the network.
    features, weight, bias
        As `score_head` takes them.

    Raises
    ------
    ladnet_fast.ImplUnavailableError
        If "triton" is named and cannot serve.
    """
    if _impl.requested(impl) not in ("auto", "triton"):
        return False
    tensors = _cast(features, weight, bias)
    return _impl.choose(_NAME, impl, features.device, _why_not(), *tensors) == "triton"


def score_head(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    lengths: Tensor | None = None,
    impl: str = "auto",
) -> Tensor:
    r"""Compute the anomaly scores of bags from their embeddings.

    .. math::

        S_t = \mathrm{sigmoid}\Big(b + \sum_{i=0}^{K-1} \langle w_i, x_{t-(K-1)+i} \rangle\Big)

    with zeros before the bag (slide 11 of the authors' ICME 2022 presentation): a score depends on
    a snippet and the K - 1 before it.

    Parameters
    ----------
    features : Tensor
        (B, T, C), the embeddings x; floating, any strides. Under autocast all three are cast to its
        dtype.
    weight, bias : Tensor
        (1, C, K) and (1,), as ``torch.nn.Conv1d`` holds them, in the dtype of ``features``.
    lengths : Tensor, optional
        (B,) int32 or int64, each from 0 to T: snippets beyond are never read, NaN included; their
        scores are 0 and send no gradient. None: all have T.
    impl : {"auto", "reference", "triton"}
        Who computes; see `ladnet_fast.use_impl`.

    Returns
    -------
    Tensor
        (B, T) in [0, 1], dtype of ``features``.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape, dtype, device or value; the message names it.
    ladnet_fast.ImplUnavailableError
        If a named ``impl`` cannot serve; the message lists every reason.
    """
    _check(features, weight, bias, lengths)
    features, weight, bias = _cast(features, weight, bias)
    for name, x in (("weight", weight), ("bias", bias)):
        if x.dtype != features.dtype:
            raise TypeError(
                f"{name} must be {features.dtype} like features; got {x.dtype}. Convert it with "
                f"{name}.to(features.dtype)."
            )
    if lengths is not None:
        lengths = _checks.checked_lengths(lengths, features.shape[1], 0)
    impl = _impl.choose(_NAME, impl, features.device, _why_not(), features, weight, bias)
    if impl == "reference" and features.device.type != "meta":
        for name, x in (("features", features), ("weight", weight), ("bias", bias)):
            _memory.check_given(name, x)
        with torch.autocast(features.device.type, enabled=False):
            return definition.score_head(features, weight, bias, lengths)
    given = (features, weight, bias)
    training = torch.is_grad_enabled() and any(x.requires_grad for x in given)
    scores, _ = schema.head_forward(features, weight, bias, lengths, training, impl)
    return scores


def _why_not() -> dict[str, _impl.WhyNot]:
    return {name: module.why_not for name, module in schema.BACKENDS.items()}


def _cast(*tensors: Tensor) -> list[Tensor]:
    """Return the tensors as autocast wants them: what a convolution would do to its arguments."""
    dtype = _checks.autocast_dtype(tensors[0])
    return list(tensors) if dtype is None else [x.to(dtype) for x in tensors]


def _check(features: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor | None) -> None:
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
    if lengths is not None:
        _checks.check_index_vector("lengths", lengths, features.shape[0], features)
