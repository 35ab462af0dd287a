"""Locality attention: forward, and forward with backward, the prior's gradient included."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from ladnet_fast.ops.locality_attention.layout import lse_dtype
from tests import budget

from ..oracle import blockwise_attention
from ..vocabulary import Case, Cost, Op, Outputs, subsets
from .attention_sides import Inputs, forward, forward_backward, gradient_names, make_sides

#: variant -> (kind of prior, w, b). "flat" is the worst case: the band is the whole sequence.
VARIANTS = {
    "additive": ("additive", 1 / 16, 0.0),
    "logit": ("logit", 1 / 16, 0.0),
    "flat": ("additive", 0.0, 0.5),
}


def build(case: Case, device: torch.device) -> Inputs:
    """Draw q, k, v and the output's gradient, normal with variance 1."""
    B, H, T, d = (case.shape[axis] for axis in "BHTd")
    generator = torch.Generator().manual_seed(0)

    def draw() -> Tensor:
        # Stored (B, T, H, d), as projections are.
        x = torch.randn(B, T, H, d, generator=generator).to(device, case.dtype)
        return x.transpose(1, 2)

    prior, w, b = VARIANTS[case.variant]
    real = lse_dtype(case.dtype)
    w_tensor, b_tensor = (torch.full((H,), value, dtype=real, device=device) for value in (w, b))
    return Inputs(draw(), draw(), draw(), w_tensor, b_tensor, draw(), prior)


# ---- The answer ----------------------------------------------------------------------------------


def _oracle_forward(inputs: Inputs, target: str, dtype: torch.dtype) -> Outputs:
    arguments = _cast(inputs, dtype)
    with torch.inference_mode():
        prior = _kind(target)
        return {"out": blockwise_attention(*arguments, prior=prior, scale=inputs.scale)}


def _oracle_forward_backward(inputs: Inputs, target: str, dtype: torch.dtype) -> Outputs:
    leaves = [x.detach().requires_grad_() for x in _cast(inputs, dtype)]
    prior = _kind(target)
    names = gradient_names(prior)
    out = blockwise_attention(*leaves, prior=prior, scale=inputs.scale)
    grads = torch.autograd.grad(out, leaves[: len(names)], inputs.grad.to(dtype))
    return {"out": out.detach(), **dict(zip(names, grads, strict=True))}


def _scales(inputs: Inputs, target: str, truth: Outputs) -> dict[str, float]:
    tensors = (inputs.q, inputs.k, inputs.v, inputs.w, inputs.b, inputs.grad)
    lse, terms = budget.attention_terms(
        tensors,
        prior=_kind(target),
        scale=inputs.scale,
        bags=budget.bags_of(inputs.q, None, None),
    )
    return budget.attention_sizes(truth, lse, terms, inputs.q.dtype)


def _kind(target: str) -> str:
    return "none" if target == "none" else VARIANTS[target][0]


def _cast(inputs: Inputs, dtype: torch.dtype) -> list[Tensor]:
    real = lse_dtype(dtype)
    return [
        *(x.to(dtype) for x in (inputs.q, inputs.k, inputs.v)),
        *(x.to(real) for x in (inputs.w, inputs.b)),
    ]


# ---- Sizes ---------------------------------------------------------------------------------------


def _cost(case: Case, products: int) -> Cost:
    B, H, T, d = (case.shape[axis] for axis in "BHTd")
    return Cost(
        flops=2.0 * products * B * H * T * T * d,
        check_bytes=2.0**30 + 24.0 * 8 * B * H * T * d,
    )


#: Counted without the prior, which costs next to nothing: two products forward, five backward.
_CALLS = (
    "bags are short there, and ours comes through Python, where C++ does the same for it: checks, "
    "results and a node of autograd."
)
_BEHIND = {
    "sdpa": _CALLS,
    "flat/sdpa": "it has no prior, and a flat one reaches from every snippet to every other.",
    "sdpa_mask": _CALLS,
    "eager": _CALLS,
    "compiled": f"{_CALLS} Many bags of 200 at once are level: matrices of that size stay in the "
    "cache, so that writing them down costs little.",
    "native_no_prior": "the same kernel without the prior's work.",
    "triton_no_prior": "the same kernel without the prior's work.",
}
FORWARD = Op(
    "attention_forward",
    "Locality attention, forward",
    build,
    _oracle_forward,
    functools.partial(_cost, products=2),
    make_sides(forward, backward=False),
    tiny={"B": 2, "H": 2, "T": 37, "d": 8},
    behind=_BEHIND,
)
FORWARD_BACKWARD = Op(
    "attention_forward_backward",
    "Locality attention, forward and backward",
    build,
    _oracle_forward_backward,
    functools.partial(_cost, products=7),
    make_sides(forward_backward, backward=True),
    tiny={"B": 2, "H": 2, "T": 37, "d": 8},
    scales=_scales,
    behind=_BEHIND,
)
OPS = (FORWARD, FORWARD_BACKWARD)

_OWN = ("native", "native_no_prior", "triton", "triton_no_prior")
_QUICK = (200, 1024, 2048)
#: (bags, snippets, head size): most videos are as short as these.
_SHORT = (
    *((1, T, d) for T in (64, 200, 512) for d in (32, 64)),
    *((16, T, d) for T in (64, 200) for d in (32, 64, 128)),
    *((16, T, 128) for T in (512, 1024)),
)


def cases() -> list[Case]:
    """Return the cases: T from 64 to 16,384; short bags; priors; heads; a batch; bf16."""
    return [
        *(_fp32(op, T) for op in OPS for T in (64, 200, 512, 1024, 2048, 4096, 8192, 16384)),
        *(_short(op, B, T, d) for op in OPS for B, T, d in _SHORT),
        *(_training_batch(op) for op in OPS),
        *(_four_heads(op) for op in OPS),
        *(_logit(op, T) for op in OPS for T in (200, 2048)),
        *(_flat(op) for op in OPS),
        *(_bf16(FORWARD, T) for T in (1024, 4096, 8192)),
        _bf16(FORWARD_BACKWARD, 4096),
    ]


def _sizes(B: int, H: int, T: int, d: int) -> dict[str, int]:
    return {"B": B, "H": H, "T": T, "d": d}


def _fp32(op: Op, T: int) -> Case:
    chosen = {name for name, wanted in (("quick", T in _QUICK), ("bars", T >= 2048)) if wanted}
    sides = (*_OWN, "sdpa", "sdpa_plus_prior", "eager", "compiled")
    # Below, what a call takes is little beside what the heap has at hand.
    memory = ("native", "sdpa", "sdpa_plus_prior", "eager") if T >= 2048 else ()
    return Case(
        op,
        _sizes(1, 1, T, 128),
        sides,
        variant="additive",
        subsets=subsets(*chosen),
        memory=memory,
    )


def _short(op: Op, B: int, T: int, d: int) -> Case:
    sides = (*_OWN, "sdpa", "eager", *(("compiled",) if d == 128 else ()))
    return Case(op, _sizes(B, 1, T, d), sides, variant="additive")


def _training_batch(op: Op) -> Case:
    sides = (*_OWN, "sdpa", "sdpa_plus_prior", "eager", "compiled")
    return Case(op, _sizes(128, 1, 200, 128), sides, variant="additive")


def _four_heads(op: Op) -> Case:
    sides = (*_OWN, "sdpa", "sdpa_plus_prior", "eager")
    return Case(op, _sizes(1, 4, 2048, 32), sides, variant="additive")


def _logit(op: Op, T: int) -> Case:
    sides = (*_OWN, "sdpa", "sdpa_mask", "eager")
    return Case(op, _sizes(1, 1, T, 128), sides, variant="logit")


def _flat(op: Op) -> Case:
    return Case(op, _sizes(1, 1, 4096, 128), (*_OWN, "sdpa", "eager"), variant="flat")


def _bf16(op: Op, T: int) -> Case:
    chosen = ("bars",) if op is FORWARD and T >= 2048 else ()
    return Case(
        op,
        _sizes(1, 1, T, 128),
        (*_OWN, "sdpa", "eager"),
        dtype=torch.bfloat16,
        variant="additive",
        subsets=subsets(*chosen),
    )
