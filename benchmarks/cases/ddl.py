"""The DDL losses: forward, and forward with backward."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import ladnet_fast.functional as LF
from ladnet_fast.functional import DDLTerms

from .. import impls, peers
from ..vocabulary import Call, Case, Cost, Op, Outputs, Side, subsets

Loss = Callable[[Tensor, Tensor, Tensor], DDLTerms]


@dataclass(frozen=True)
class Inputs:
    """Bags of equal length, every other one anomalous."""

    scores: Tensor
    features: Tensor
    labels: Tensor


def build(case: Case, device: torch.device) -> Inputs:
    """Draw scores in (0, 1) and features that change slowly along a bag, as a video's do."""
    N, T, C = (case.shape[axis] for axis in "NTC")
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(N, T, generator=generator)
    features = torch.randn(N, T, C, generator=generator)
    features[:, 1:] += features[:, :-1].clone()
    labels = torch.arange(N) % 2 == 0
    return Inputs(scores.to(device), features.to(device, case.dtype), labels.to(device))


def _loss(inputs: Inputs, name: str) -> Loss:
    if name in impls.KERNELS:
        return functools.partial(LF.ddl_loss, impl=name)
    return peers.eager_ddl if name == "eager" else peers.compiled(peers.eager_ddl)


def _forward(inputs: Inputs, check: bool, *, name: str) -> Call:
    loss = _loss(inputs, name)

    def call() -> Outputs:
        with torch.inference_mode():
            return loss(inputs.scores, inputs.features, inputs.labels)._asdict()

    return call


def _forward_backward(inputs: Inputs, check: bool, *, name: str) -> Call:
    loss = _loss(inputs, name)
    scores, features = (x.detach().requires_grad_() for x in (inputs.scores, inputs.features))

    def call() -> Outputs:
        return _differentiate(loss, scores, features, inputs.labels)

    return call


def _differentiate(loss: Loss, scores: Tensor, features: Tensor, labels: Tensor) -> Outputs:
    terms = loss(scores, features, labels)
    dscores, dfeatures = torch.autograd.grad(terms.total, (scores, features))
    detached = {name: term.detach() for name, term in terms._asdict().items()}
    return {**detached, "dscores": dscores, "dfeatures": dfeatures}


def _copy(inputs: Inputs, check: bool) -> Call:
    target = torch.empty_like(inputs.features)

    def call() -> Outputs:
        return {"copy": peers.copy_into(target, inputs.features)}

    return call


def _oracle_forward(inputs: Inputs, target: str, dtype: torch.dtype) -> Outputs:
    if target == "copy":
        return {"copy": inputs.features.to(dtype)}
    with torch.inference_mode():
        return peers.eager_ddl(*_cast(inputs, dtype), inputs.labels)._asdict()


def _oracle_forward_backward(inputs: Inputs, target: str, dtype: torch.dtype) -> Outputs:
    if target == "copy":
        return {"copy": inputs.features.to(dtype)}
    scores, features = (x.detach().requires_grad_() for x in _cast(inputs, dtype))
    return _differentiate(peers.eager_ddl, scores, features, inputs.labels)


def _scales(inputs: Inputs, target: str, truth: Outputs) -> dict[str, float]:
    # The ranking is the margin plus a difference of mean squares of scores, which are up to 1.
    return {} if target == "copy" else {"ranking": 1.0}


def _cast(inputs: Inputs, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    # Scores stay float32 beside half-precision features: that is what the operator computes with.
    real = torch.float64 if dtype == torch.float64 else torch.float32
    return inputs.scores.to(real), inputs.features.to(dtype)


def _why_not(inputs: Inputs, *, impl: str) -> list[str]:
    return impls.why_not("ddl_loss", impl, inputs.scores, inputs.features)


def _sides(prepare: Any) -> tuple[Side, ...]:
    own = [
        Side(
            impl,
            functools.partial(prepare, name=impl),
            own=True,
            why_not=functools.partial(_why_not, impl=impl),
        )
        for impl in ("native", "cuda")
    ]
    return (
        *own,
        Side("eager", functools.partial(prepare, name="eager")),
        Side(
            "compiled",
            functools.partial(prepare, name="compiled"),
            why_not=peers.why_not_compiled,
        ),
        Side("copy", _copy, target="copy"),
    )


def _cost(case: Case, passes: int) -> Cost:
    N, T, C = (case.shape[axis] for axis in "NTC")
    return Cost(
        bytes=float(passes * N * T * C * case.dtype.itemsize),
        check_bytes=12.0 * 8 * N * T * C,
    )


_BEHIND = {
    "copy": "it computes nothing: each byte is read once and written once, of batches that fit in "
    "caches at their speed, while the losses sort every bag's scores and, backward, read the "
    "features a second time."
}
#: One read of the features forward; one read and one write backward.
FORWARD = Op(
    "ddl_forward",
    "DDL losses, forward",
    build,
    _oracle_forward,
    functools.partial(_cost, passes=1),
    _sides(_forward),
    tiny={"N": 4, "T": 33, "C": 8},
    varies=None,
    scales=_scales,
    behind=_BEHIND,
)
FORWARD_BACKWARD = Op(
    "ddl_forward_backward",
    "DDL losses, forward and backward",
    build,
    _oracle_forward_backward,
    functools.partial(_cost, passes=3),
    _sides(_forward_backward),
    tiny={"N": 4, "T": 33, "C": 8},
    varies=None,
    scales=_scales,
    behind=_BEHIND,
)
OPS = (FORWARD, FORWARD_BACKWARD)

_SIDES = ("native", "cuda", "eager", "compiled", "copy")


def cases() -> list[Case]:
    """Return the cases: a training batch, many long bags, one day-long bag, bf16 features."""
    return [
        *(_case(op, (128, 200, 128), "quick") for op in OPS),
        *(_case(op, (64, 1024, 128), "quick") for op in OPS),
        _case(FORWARD, (64, 8192, 128)),
        _case(FORWARD_BACKWARD, (64, 8192, 128), "bars"),
        *(_case(op, (1, 135_000, 128)) for op in OPS),
        *(_case(op, (64, 1024, 128), dtype=torch.bfloat16) for op in OPS),
    ]


def _case(
    op: Op, shape: tuple[int, int, int], *chosen: str, dtype: torch.dtype = torch.float32
) -> Case:
    large = shape == (64, 8192, 128) and op is FORWARD_BACKWARD
    return Case(
        op,
        dict(zip("NTC", shape, strict=True)),
        _SIDES,
        dtype=dtype,
        subsets=subsets(*chosen),
        memory=("native", "eager") if large else (),
    )
