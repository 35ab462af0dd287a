"""The entry point of mask, residual and LayerNorm: checks the arguments, chooses who computes.

The layer belongs to `ladnet_fast.LANet`, whose LayerNorm holds the weights; there is no public
function. Where the kernel does not serve, the network calls that module as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .. import _checks, _impl, _memory
from .._bags import Bags
from . import definition, schema, triton
from .checks import check_tensors

_NAME = "residual_norm"
_WHY_NOT = {name: module.why_not for name, module in schema.BACKENDS.items()}


def serves(impl: str, x: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor) -> bool:
    """Whether the fused kernel computes this call, else PyTorch's operators do.

    It does where ``impl`` (after `ladnet_fast.use_impl` and ``LADNET_IMPL``) is "triton", or
    "auto" with tensors on a GPU that it can serve. Rows that are too wide for it are PyTorch's in
    either case: who names "triton" wants attention's kernels, for features of any width.

    Parameters
    ----------
    impl : str
        As given to the network.
    x, hidden, weight, bias
        As `residual_norm` takes them.

    Raises
    ------
    ladnet_fast.ImplUnavailableError
        If "triton" is named and cannot serve.
    """
    if _impl.requested(impl) not in ("auto", "triton") or x.shape[2] > triton.MAX_WIDTH:
        return False
    return _choose(impl, x, hidden, weight, bias) == "triton"


def residual_norm(
    x: Tensor,
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *,
    lengths: Tensor | Bags | None = None,
    impl: str = "auto",
) -> Tensor:
    r"""Normalise the rows of a sum.

    .. math::

        y_t = w \odot \frac{s_t - \mu_t}{\sqrt{\sigma_t^2 + \epsilon}} + b,
        \qquad s_t = x_t + h_t

    with the mean and the (biased) variance of each row over its D numbers: the residual connection
    and the LayerNorm behind LA-Net's attention (slide 8 of the authors' ICME 2022 presentation).

    Parameters
    ----------
    x, hidden : Tensor
        (B, T, D); floating, any strides, not necessarily of one dtype. The sum is not rounded to
        either dtype in between.
    weight, bias : Tensor
        (D,) in one dtype, as ``torch.nn.LayerNorm`` holds them.
    eps : float
        Added to the variance.
    lengths : Tensor or Bags, optional
        (B,) int32 or int64, each from 0 to T, or bags that have been checked: rows beyond are never
        read, NaN included; their results are 0 and send no gradient. None: all have T.
    impl : {"auto", "reference", "triton"}
        Who computes; see `ladnet_fast.use_impl`.

    Returns
    -------
    Tensor
        (B, T, D), contiguous where a kernel made it: in autocast's dtype where that is on, so that
        nothing has to be rounded for the product that follows; else as PyTorch promotes x + hidden.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape, dtype, device or value; the message names it.
    ladnet_fast.ImplUnavailableError
        If a named ``impl`` cannot serve; the message lists every reason.
    """
    dtype = torch.promote_types(x.dtype, hidden.dtype)
    dtype = _checks.autocast_dtype(x) or dtype
    check_tensors(x, hidden, weight, bias, dtype)
    if isinstance(lengths, Bags):
        lengths.check_fits("x", x, x.shape[1])
    else:
        lengths = Bags.checked("x", x, x.shape[1], lengths)
    impl = _choose(impl, x, hidden, weight, bias)
    call = schema.Call(x, hidden, weight, bias, lengths.lengths, float(eps), dtype, impl)
    if impl == "reference" and not x.is_meta:
        for name, y in (("x", x), ("hidden", hidden), ("weight", weight), ("bias", bias)):
            _memory.check_given(name, y)
        with torch.autocast(x.device.type, enabled=False):
            return definition.residual_norm(*call[:7])
    out: Tensor = schema.norm_forward(call)
    return out


def _choose(impl: str, *tensors: Tensor) -> str:
    if tensors[0].is_cpu and _impl.requested(impl) == "auto":
        return "reference"
    return _impl.choose(_NAME, impl, tensors[0].device, _WHY_NOT, *tensors)
