"""Who computes locality attention: our kernels and their peers, called alike."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import ladnet_fast.functional as LF

from .. import impls, peers
from ..vocabulary import Call, Outputs, Side

#: Forward kernels that only autotuning tries, see `impls.candidate`.
CANDIDATES = ("descriptors", "specialized")
#: Peers without any prior.
_PLAIN = ("sdpa", "sdpa_flash", "sdpa_cudnn")


@dataclass(frozen=True)
class Inputs:
    """Tensors of a call; gradients are asked for all that may have one."""

    q: Tensor
    k: Tensor
    v: Tensor
    w: Tensor
    b: Tensor
    grad: Tensor
    prior: str

    @property
    def scale(self) -> float:
        """The usual factor of the logits."""
        return float(self.q.shape[-1] ** -0.5)


def _own(inputs: Inputs, impl: str, prior: str) -> Any:
    def attend(q: Tensor, k: Tensor, v: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return LF.locality_attention(q, k, v, w, b, prior=prior, scale=inputs.scale, impl=impl)

    return attend


def _functions(inputs: Inputs, name: str) -> Any:
    """Return the side's function of (q, k, v, w, b)."""
    scale = inputs.scale
    kernel, _, rest = name.partition("_")
    if name == "triton_unsplit":
        return impls.unsplit(_own(inputs, kernel, inputs.prior))
    if rest in CANDIDATES:
        return impls.candidate(rest, _own(inputs, kernel, inputs.prior))
    if kernel in impls.KERNELS:
        return _own(inputs, kernel, "none" if rest == "no_prior" else inputs.prior)
    if name == "flex_band":
        return _flex_band(inputs)
    options: dict[str, Any] = {"prior": inputs.prior, "scale": scale}
    return {
        "sdpa": lambda q, k, v, w, b: peers.sdpa(q, k, v, scale),
        "sdpa_flash": lambda q, k, v, w, b: peers.sdpa_flash(q, k, v, scale),
        "sdpa_cudnn": lambda q, k, v, w, b: peers.sdpa_cudnn(q, k, v, scale),
        "flex": lambda q, k, v, w, b: _fused(q, peers.flex_logit)(q, k, v, w, b, scale),
        "sdpa_mask": lambda q, k, v, w, b: peers.sdpa_with_prior_as_mask(q, k, v, w, b, scale),
        "sdpa_plus_prior": lambda q, k, v, w, b: peers.sdpa_plus_prior(q, k, v, w, b, scale),
        "eager": functools.partial(peers.eager_attention, **options),
        "compiled": functools.partial(peers.compiled(peers.eager_attention), **options),
    }[name]


def _fused(q: Tensor, function: Any) -> Any:
    # Elsewhere FlexAttention has no kernel that is worth compiling.
    return peers.compiled_for_shape(function) if q.device.type == "cuda" else function


def _flex_band(inputs: Inputs) -> Any:
    # Beyond, G is under the rounding of float32. The benchmark's own w and b: w is not 0.
    w, b = float(inputs.w.abs().min()), float(inputs.b.abs().max())
    reach = math.ceil(math.sqrt((20 + b) / w))
    mask = peers.flex_band_mask(inputs.q.shape[2], reach, inputs.q.device)

    def attend(q: Tensor, k: Tensor, v: Tensor, w: Tensor, b: Tensor) -> Tensor:
        out: Tensor = _fused(q, peers.flex_band)(q, k, v, w, b, inputs.scale, mask)
        return out

    return attend


def forward(inputs: Inputs, check: bool, *, name: str) -> Call:
    """Return a side's forward call."""
    function = _functions(inputs, name)
    arguments = (inputs.q, inputs.k, inputs.v, inputs.w, inputs.b)

    def call() -> Outputs:
        with torch.inference_mode():
            return {"out": function(*arguments)}

    return call


def forward_backward(inputs: Inputs, check: bool, *, name: str) -> Call:
    """Return a side's call with the gradients of all that may have one."""
    function = _functions(inputs, name)
    leaves = [
        x.detach().requires_grad_() for x in (inputs.q, inputs.k, inputs.v, inputs.w, inputs.b)
    ]
    names = gradient_names(_target(name, inputs.prior))

    def call() -> Outputs:
        out = function(*leaves)
        grads = torch.autograd.grad(out, leaves[: len(names)], inputs.grad)
        return {"out": out.detach(), **dict(zip(names, grads, strict=True))}

    return call


def gradient_names(prior: str) -> tuple[str, ...]:
    """Return which gradients there are with a kind of prior."""
    return ("dq", "dk", "dv") if prior == "none" else ("dq", "dk", "dv", "dw", "db")


def _target(name: str, prior: str) -> str:
    return "none" if name in _PLAIN or name.endswith("_no_prior") else prior


def _why_not(inputs: Inputs, *, impl: str) -> list[str]:
    return impls.why_not("locality_attention", impl, inputs.q, inputs.k, inputs.v)


def _why_no_candidate(inputs: Inputs, *, kind: str) -> list[str]:
    return impls.why_no_candidate(kind, inputs.q, inputs.k, inputs.v)


def _why_not_flash(inputs: Inputs, *, kernels: str) -> list[str]:
    reasons = []
    if inputs.q.device.type != "cuda":
        reasons.append(f"{kernels} needs CUDA tensors")
    if inputs.q.dtype not in (torch.float16, torch.bfloat16):
        reasons.append(f"{kernels} takes float16 and bfloat16, not {inputs.q.dtype}")
    return reasons


def _why_not_flex(inputs: Inputs, *, prior: str, backward: bool) -> list[str]:
    reasons = []
    if inputs.prior != prior:
        reasons.append(f"it computes the {prior} prior only")
    elif prior == "additive" and float(inputs.w.abs().min()) == 0:
        reasons.append("its mask is a band, and with w = 0 the prior reaches everywhere")
    if backward and inputs.q.device.type != "cuda":
        reasons.append("FlexAttention has a backward pass on CUDA tensors only")
    return reasons


def _why_not_mask(inputs: Inputs) -> list[str]:
    if inputs.prior == "logit":
        return []
    return ["a mask adds to the logits: it computes the logit prior only"]


def _why_not_plus(inputs: Inputs) -> list[str]:
    return [] if inputs.prior == "additive" else ["it computes the additive prior only"]


def make_sides(prepare: Any, *, backward: bool) -> tuple[Side, ...]:
    """Return everybody, prepared by `forward` or `forward_backward`."""
    own = [
        Side(
            name,
            functools.partial(prepare, name=name),
            own=True,
            target="none" if name.endswith("_no_prior") else None,
            why_not=functools.partial(_why_not, impl=impl),
        )
        for impl in ("native", "triton")
        for name in (impl, f"{impl}_no_prior")
    ]
    unsplit = functools.partial(prepare, name="triton_unsplit")
    return (
        *own,
        Side(
            "triton_unsplit",
            unsplit,
            own=True,
            why_not=functools.partial(_why_not, impl="triton"),
        ),
        *(
            Side(
                f"triton_{kind}",
                functools.partial(prepare, name=f"triton_{kind}"),
                own=True,
                why_not=functools.partial(_why_no_candidate, kind=kind),
            )
            for kind in CANDIDATES
        ),
        Side("sdpa", functools.partial(prepare, name="sdpa"), target="none"),
        *(
            Side(
                name,
                functools.partial(prepare, name=name),
                target="none",
                why_not=functools.partial(_why_not_flash, kernels=kernels),
            )
            for name, kernels in (("sdpa_flash", "FlashAttention"), ("sdpa_cudnn", "cuDNN"))
        ),
        *(
            Side(
                name,
                functools.partial(prepare, name=name),
                why_not=functools.partial(_why_not_flex, prior=prior, backward=backward),
            )
            for name, prior in (("flex", "logit"), ("flex_band", "additive"))
        ),
        Side("sdpa_mask", functools.partial(prepare, name="sdpa_mask"), why_not=_why_not_mask),
        Side(
            "sdpa_plus_prior",
            functools.partial(prepare, name="sdpa_plus_prior"),
            why_not=_why_not_plus,
        ),
        Side("eager", functools.partial(prepare, name="eager")),
        Side(
            "compiled",
            functools.partial(prepare, name="compiled"),
            why_not=peers.why_not_compiled,
        ),
    )
