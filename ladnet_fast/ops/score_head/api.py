"""The entry point of the score head: checks the arguments, chooses the fused kernel or not.

The layer belongs to `ladnet_fast.LANet`, whose convolution holds the weights; there is no
public function. Where the kernel does not serve, the network calls that module as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .. import _checks, _impl, _memory, linear
from .._bags import Bags
from . import definition, schema
from .checks import check_dtypes, check_tensors

_NAME = "score_head"
_WHY_NOT = {name: module.why_not for name, module in schema.BACKENDS.items()}


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
    return _choose(impl, *_cast(features, weight, bias)) == "triton"


def score_head(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    lengths: Tensor | Bags | None = None,
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
    lengths : Tensor or Bags, optional
        (B,) int32 or int64, each from 0 to T, or bags that have been checked: snippets beyond are
        never read, NaN included; their scores are 0 and send no gradient. None: all have T.
    impl : {"auto", "reference", "native", "triton"}
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
    check_tensors(features, weight, bias)
    T = features.shape[1]
    if isinstance(lengths, Bags):
        lengths.check_fits("features", features, T)
    else:
        lengths = Bags.checked("features", features, T, lengths)
    features, weight, bias = _cast(features, weight, bias)
    check_dtypes(features, weight, bias)
    impl = _choose(impl, features, weight, bias)
    if impl == "reference" and not features.is_meta:
        for name, x in (("features", features), ("weight", weight), ("bias", bias)):
            _memory.check_given(name, x)
        with torch.autocast(features.device.type, enabled=False):
            return definition.score_head(features, weight, bias, lengths.lengths)
    training = torch.is_grad_enabled() and any(x.requires_grad for x in (features, weight, bias))
    call = schema.Call(features, weight, bias, lengths.lengths, training, impl)
    scores, _ = schema.head_forward(call)
    return scores


def _choose(impl: str, *tensors: Tensor) -> str:
    """Return who computes: by itself the native head serves where native linear layers do."""
    if tensors[0].is_cpu and _impl.requested(impl) == "auto":
        return "native" if linear.serves("auto", *tensors) else "reference"
    return _impl.choose(_NAME, impl, tensors[0].device, _WHY_NOT, *tensors)


def _cast(*tensors: Tensor) -> list[Tensor]:
    """Return the tensors as autocast wants them: what a convolution would do to its arguments."""
    dtype = _checks.autocast_dtype(tensors[0])
    return list(tensors) if dtype is None else [x.to(dtype) for x in tensors]
