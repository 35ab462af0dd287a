"""Residual and LayerNorm: forward, and forward with backward. The kernel is for GPUs alone."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ladnet_fast.ops.residual_norm import residual_norm
from tests import budget

from .. import impls, peers
from ..vocabulary import Call, Case, Cost, Op, Outputs
from .fused_sides import fused_sides

_EPS = 1e-5


@dataclass(frozen=True)
class Inputs:
    """Features, what attention made of them, LayerNorm's parameters, and the result's gradient."""

    x: Tensor
    hidden: Tensor
    weight: Tensor
    bias: Tensor
    grad: Tensor

    @property
    def summands(self) -> tuple[Tensor, ...]:
        """What is differentiated: as in training, not the features."""
        return (self.hidden, self.weight, self.bias)


def build(case: Case, device: torch.device) -> Inputs:
    """Draw everything from the normal distribution."""
    B, T, D = (case.shape[axis] for axis in "BTD")
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device, case.dtype)

    return Inputs(draw(B, T, D), draw(B, T, D), draw(D), draw(D), draw(B, T, D))


def _function(name: str) -> Any:
    if name in impls.KERNELS:
        return functools.partial(residual_norm, impl=name)
    return peers.eager_norm if name == "eager" else peers.compiled(peers.eager_norm)


def _forward(inputs: Inputs, check: bool, *, name: str) -> Call:
    function = _function(name)

    def call() -> Outputs:
        with torch.inference_mode():
            return {"out": function(inputs.x, *inputs.summands, _EPS)}

    return call


def _forward_backward(inputs: Inputs, check: bool, *, name: str) -> Call:
    function = _function(name)
    leaves = _leaves(inputs, inputs.x.dtype)

    def call() -> Outputs:
        return _differentiate(function, inputs.x, leaves, inputs.grad)

    return call


def _leaves(inputs: Inputs, dtype: torch.dtype) -> list[Tensor]:
    return [x.detach().to(dtype).requires_grad_() for x in inputs.summands]


def _differentiate(function: Any, x: Tensor, leaves: list[Tensor], grad: Tensor) -> Outputs:
    out = function(x, *leaves, _EPS)
    grads = torch.autograd.grad(out, leaves, grad.to(out.dtype))
    names = ("dhidden", "dweight", "dbias")
    return {"out": out.detach(), **dict(zip(names, grads, strict=True))}


def _oracle_forward(inputs: Inputs, target: str, dtype: torch.dtype) -> Outputs:
    hidden, weight, bias = _leaves(inputs, dtype)
    with torch.inference_mode():
        return {"out": peers.eager_norm(inputs.x.to(dtype), hidden, weight, bias, _EPS)}


def _oracle_forward_backward(inputs: Inputs, target: str, dtype: torch.dtype) -> Outputs:
    leaves = _leaves(inputs, dtype)
    return _differentiate(peers.eager_norm, inputs.x.to(dtype), leaves, inputs.grad)


def _scales(inputs: Inputs, target: str, truth: Outputs) -> dict[str, float]:
    sizes = budget.residual_norm_sizes(inputs.x, inputs.hidden, inputs.grad, _EPS)
    return budget.at_least_the_values(dict(zip(("dweight", "dbias"), sizes, strict=True)), truth)


def _why_not(inputs: Inputs) -> list[str]:
    return impls.why_not("residual_norm", "triton", inputs.x, *inputs.summands)


def _cost(case: Case, passes: int) -> Cost:
    B, T, D = (case.shape[axis] for axis in "BTD")
    size = case.dtype.itemsize
    return Cost(bytes=float(passes * B * T * D * size), check_bytes=12.0 * 8 * B * T * D)


#: Two reads and a write forward; three reads and a write backward.
FORWARD = Op(
    "residual_norm_forward",
    "Residual and LayerNorm, forward",
    build,
    _oracle_forward,
    functools.partial(_cost, passes=3),
    fused_sides(_forward, _why_not),
    tiny={"B": 2, "T": 37, "D": 24},
    varies=None,
)
FORWARD_BACKWARD = Op(
    "residual_norm_forward_backward",
    "Residual and LayerNorm, forward and backward",
    build,
    _oracle_forward_backward,
    functools.partial(_cost, passes=7),
    fused_sides(_forward_backward, _why_not),
    tiny={"B": 2, "T": 37, "D": 24},
    varies=None,
    scales=_scales,
)
OPS = (FORWARD, FORWARD_BACKWARD)
