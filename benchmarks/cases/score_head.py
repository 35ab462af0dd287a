"""The score head: forward, and forward with backward. Its kernel is for GPUs alone."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ladnet_fast.ops.score_head import score_head
from tests import budget

from .. import impls, peers
from ..vocabulary import Call, Case, Cost, Op, Outputs
from .fused_sides import fused_sides


@dataclass(frozen=True)
class Inputs:
    """Embeddings, the convolution's parameters, and the gradient of the scores."""

    features: Tensor
    weight: Tensor
    bias: Tensor
    grad: Tensor


def build(case: Case, device: torch.device) -> Inputs:
    """Draw normal features, and weights for logits of variance 1."""
    B, T, C, K = (case.shape[axis] for axis in "BTCK")
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device, case.dtype)

    return Inputs(draw(B, T, C), draw(1, C, K) / (C * K) ** 0.5, draw(1), draw(B, T))


def _function(name: str) -> Any:
    if name in impls.KERNELS:
        return functools.partial(score_head, impl=name)
    return peers.eager_head if name == "eager" else peers.compiled(peers.eager_head)


def _forward(inputs: Inputs, check: bool, *, name: str) -> Call:
    function = _function(name)

    def call() -> Outputs:
        with torch.inference_mode():
            return {"scores": function(inputs.features, inputs.weight, inputs.bias)}

    return call


def _forward_backward(inputs: Inputs, check: bool, *, name: str) -> Call:
    function = _function(name)
    leaves = _leaves(inputs, inputs.features.dtype)

    def call() -> Outputs:
        return _differentiate(function, leaves, inputs.grad)

    return call


def _leaves(inputs: Inputs, dtype: torch.dtype) -> list[Tensor]:
    given = (inputs.features, inputs.weight, inputs.bias)
    return [x.detach().to(dtype).requires_grad_() for x in given]


def _differentiate(function: Any, leaves: list[Tensor], grad: Tensor) -> Outputs:
    scores = function(*leaves)
    grads = torch.autograd.grad(scores, leaves, grad.to(scores.dtype))
    names = ("dfeatures", "dweight", "dbias")
    return {"scores": scores.detach(), **dict(zip(names, grads, strict=True))}


def _oracle_forward(inputs: Inputs, target: str, dtype: torch.dtype) -> Outputs:
    with torch.inference_mode():
        return {"scores": peers.eager_head(*_leaves(inputs, dtype))}


def _oracle_forward_backward(inputs: Inputs, target: str, dtype: torch.dtype) -> Outputs:
    return _differentiate(peers.eager_head, _leaves(inputs, dtype), inputs.grad)


def _scales(inputs: Inputs, target: str, truth: Outputs) -> dict[str, float]:
    sizes = budget.score_head_sizes(truth["scores"], inputs.grad, inputs.features)
    return dict(zip(("dweight", "dbias"), sizes, strict=True))


def _why_not(inputs: Inputs) -> list[str]:
    return impls.why_not("score_head", "triton", inputs.features, inputs.weight, inputs.bias)


def _cost(case: Case, passes: int) -> Cost:
    B, T, C = (case.shape[axis] for axis in "BTC")
    size = case.dtype.itemsize
    return Cost(bytes=float(passes * B * T * C * size), check_bytes=10.0 * 8 * B * T * C)


#: One read of the features forward; one more read, and a write, backward.
FORWARD = Op(
    "score_head_forward",
    "Score head, forward",
    build,
    _oracle_forward,
    functools.partial(_cost, passes=1),
    fused_sides(_forward, _why_not),
    tiny={"B": 2, "T": 37, "C": 8, "K": 3},
    varies=None,
)
FORWARD_BACKWARD = Op(
    "score_head_forward_backward",
    "Score head, forward and backward",
    build,
    _oracle_forward_backward,
    functools.partial(_cost, passes=3),
    fused_sides(_forward_backward, _why_not),
    tiny={"B": 2, "T": 37, "C": 8, "K": 3},
    varies=None,
    scales=_scales,
)
OPS = (FORWARD, FORWARD_BACKWARD)
