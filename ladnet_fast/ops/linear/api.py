"""The entry point of the linear layers: decides whether the native kernels serve.

The layers belong to `ladnet_fast.LANet`, whose modules hold the weights; there is no public
function. Where PyTorch serves, the network calls those modules as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .. import _impl
from .._bags import Bags
from . import masks, native, rule, schema

_NAME = "linear"
# Read once, at import, so that compiled graphs need no guard on it.
_choice = _impl.setting(_NAME, schema.BACKENDS, torch="reference")


def serves(impl: str, *tensors: Tensor) -> bool:
    """Whether the native kernels compute the linear layers of this call, else PyTorch does.

    The network's ``impl`` names who computes attention. Where that (after `ladnet_fast.use_impl`
    and ``LADNET_IMPL``) is "auto" or "native", these layers choose for themselves: the native
    kernels serve float32 on the CPU outside autocast if `rule.serves` says that this machine gains.
    The environment variable ``LADNET_LINEAR``, read at import, replaces that last condition:
    "reference" (or "torch") never, "native" wherever they can.

    Parameters
    ----------
    impl : str
        As given to the network.
    *tensors : Tensor
        Input (B, T, width) first, then whatever else takes part.
    """
    if _impl.requested(impl) not in ("auto", "native") or _choice == "reference":
        return False
    reasons = native.why_not(*tensors)
    if reasons:
        if not torch.compiler.is_compiling():
            _impl._log_once(f"PyTorch computes the linear layers: {'; '.join(reasons)}")
        return False
    if _choice == "native":
        return True
    B, T = tensors[0].shape[:2]
    training = False
    if torch.is_grad_enabled():
        for x in tensors:
            training = training or x.requires_grad
    return rule.serves(B * T, training)


def who_serves() -> str:
    """Return one line that says who computes LANet's linear layers on this CPU, and why."""
    reasons = native.why_not(torch.zeros(1, 1, 1))
    if reasons:
        return f"PyTorch: {'; '.join(reasons)}"
    if _choice != "auto":
        return f"{'PyTorch' if _choice == 'reference' else 'native'}: LADNET_LINEAR={_choice}"
    return rule.reason()


def projections(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], bags: Bags
) -> list[Tensor]:
    r"""Compute :math:`x W_i^\top + b_i` for several weights, reading x once.

    Parameters
    ----------
    x : Tensor
        (B, T, inputs), float32 on the CPU, any strides.
    weights, biases : sequence of Tensor
        (outputs_i, inputs) and (outputs_i,).
    bags : Bags
        Those of ``x``. Padding is never read, and its rows are 0.

    Returns
    -------
    list of Tensor
        (B, T, outputs_i) each.
    """
    bags.check_fits("x", x, x.shape[1])
    return schema.projections(schema.Projections(x, list(weights), list(biases), bags.lengths))


def residual_mlp(
    x: Tensor,
    residual: Tensor,
    norm: tuple[Tensor, Tensor, float],
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    dropout: float,
    bags: Bags,
) -> Tensor:
    r"""Compute what follows attention in LA-Net, a block of snippets at a time.

    .. math::

        y_0 &= \mathrm{LayerNorm}(x W_0^\top + b_0 + \mathrm{residual}) \\
        y_i &= \mathrm{Dropout}(\mathrm{GELU}(y_{i-1} W_i^\top + b_i))

    without GELU in the last step (slides 8 and 11 of the authors' ICME 2022 presentation). What
    dropout keeps is drawn by PyTorch's generator, in the order of PyTorch's own layers.

    Parameters
    ----------
    x, residual : Tensor
        (B, T, inputs) and (B, T, outputs_0), float32 on the CPU, any strides.
    norm : (weight, bias, eps)
        LayerNorm's.
    weights, biases : sequence of Tensor
        The output projection's and those of the MLP's layers.
    dropout : float
        Probability of zero; 0 outside training.
    bags : Bags
        Those of ``x``. Padding is never read, and its rows are 0.

    Returns
    -------
    Tensor
        (B, T, outputs of the last layer).
    """
    bags.check_fits("x", x, x.shape[1])
    keeps, keep_scale = [], 1.0
    if dropout:
        keep_scale = 1 / (1 - dropout)
        keeps = [
            masks.draw(x.new_empty(*x.shape[:2], w.shape[0], dtype=torch.bool), 1 - dropout)
            for w in weights[1:]
        ]
    weight, bias, eps = norm
    given = (x, residual, weight, bias, *weights, *biases)
    training = torch.is_grad_enabled() and any(t.requires_grad for t in given)
    call = schema.ResidualMLP(
        x, residual, weight, bias, list(weights), list(biases), keeps, keep_scale, eps, bags.lengths
    )
    features, _ = schema.residual_mlp(call, training)
    return features
