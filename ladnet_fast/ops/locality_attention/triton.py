"""The Triton kernels as a backend of locality attention.

The derivation is in kernels/locality_attention/README.md. Every tensor that a kernel gets has
passed ``_check``: the kernels trust shapes, dtypes and devices.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from .. import _triton
from .._memory import check_memory
from .layout import empty_lse, empty_output, lse_dtype

NAME = "triton"
MAX_HEAD_SIZE = 256

_DTYPES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


def why_not(q: Tensor, k: Tensor, v: Tensor) -> list[str]:
    """Return every reason why this backend cannot serve these tensors; none if it can."""
    reasons = _triton.problems({"q": q, "k": k, "v": v})
    if q.dtype not in _DTYPES:
        reasons.append(f"q is {q.dtype}; the Triton kernels take float32, bfloat16 and float16")
    if q.shape[-1] > MAX_HEAD_SIZE:
        reasons.append(f"the head size is {q.shape[-1]}; the Triton kernels reach {MAX_HEAD_SIZE}")
    return reasons


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor | None,
    b: Tensor | None,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    *,
    prior: str,
    scale: float,
    training: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``(out, lse, softmax_out)`` in the operator's layout.

    ``softmax_out``, the softmax's share of ``out``, is empty unless ``training`` with the additive
    prior. Rows of padding are 0 in all three. Products of fp32 are IEEE unless
    ``torch.backends.cuda.matmul.fp32_precision`` is "tf32".
    """
    tensors = {"q": q, "k": k, "v": v}
    w, b, lengths, cu_seqlens = _check(tensors, w, b, lengths, cu_seqlens, prior=prior)
    out, lse = empty_output(q), empty_lse(q)
    softmax_out = empty_output(q) if training and prior == "additive" else None

    def plan(choose: Callable[[str, str], Any]) -> Any:
        return _plan().plan_forward(
            q, k, v, w, b, lengths, cu_seqlens, out, lse, softmax_out,
            prior=prior, scale=scale, precision=_product_precision(q), choose=choose,
        )  # fmt: skip

    with _triton.on_device(q):
        for launch in plan(_chooser(q, lengths, cu_seqlens, plan)).values():
            launch.run()
    return out, lse, q.new_empty(0) if softmax_out is None else softmax_out


def backward(
    grad_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor | None,
    b: Tensor | None,
    softmax_out: Tensor,
    out: Tensor,
    lse: Tensor,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    *,
    prior: str,
    scale: float,
    need_prior_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """Return the gradients of q, k, v, w and b; the last two None unless ``need_prior_grad``.

    ``out``, ``lse`` and ``softmax_out`` are what `forward` returned.
    """
    name, attended = ("softmax_out", softmax_out) if prior == "additive" else ("out", out)
    tensors = {"q": q, "k": k, "v": v, "grad_out": grad_out, name: attended}
    w, b, lengths, cu_seqlens = _check(tensors, w, b, lengths, cu_seqlens, prior=prior, lse=lse)
    dq, dk, dv = (empty_output(q) for _ in range(3))

    def plan(choose: Callable[[str, str], Any]) -> Any:
        return _plan().plan_backward(
            grad_out, q, k, v, w, b, attended, lse, lengths, cu_seqlens, dq, dk, dv,
            prior=prior, scale=scale, need_prior_grad=need_prior_grad,
            precision=_product_precision(q), choose=choose,
        )  # fmt: skip

    with _triton.on_device(q):
        planned = plan(_chooser(q, lengths, cu_seqlens, lambda choose: plan(choose).launches))
        for launch in planned.launches.values():
            launch.run()
        return (dq, dk, dv, *planned.prior_grads())


def _plan() -> ModuleType:
    from ...kernels.locality_attention import plan  # imports Triton

    return plan


def _product_precision(q: Tensor) -> str:
    """Return how fp32 is multiplied: "tf32" only where PyTorch's own products may be.

    Never on AMD GPUs, whose matrix cores multiply fp32 without rounding it first.
    """
    allowed = torch.backends.cuda.matmul.fp32_precision == "tf32" and torch.version.hip is None
    return "tf32" if allowed and q.dtype == torch.float32 else "ieee"


def _chooser(
    q: Tensor, lengths: Tensor | None, cu_seqlens: Tensor | None, plan: Callable[..., Any]
) -> Callable[[str, str], Any]:
    """Return a function that chooses each kernel's configuration.

    It looks them up in the shipped table; with LADNET_AUTOTUNE=1 it measures the launches that
    ``plan`` returns for each candidate.
    """
    from ...kernels.locality_attention import configs

    precision = "tf32" if _product_precision(q) == "tf32" else _DTYPES[q.dtype]
    where = {
        "architecture": _architecture(q.device),
        "precision": precision,
        "head_size": q.shape[-1],
    }
    if os.environ.get("LADNET_AUTOTUNE") == "1" and not _triton.INTERPRETED:
        from ...kernels.locality_attention import autotune

        return autotune.chooser(
            plan,
            lambda kernel, prior: configs.candidates(kernel, prior=prior, **where),
            device=torch.cuda.get_device_name(q.device),
            problem=_problem(q, precision, lengths, cu_seqlens),
        )
    return lambda kernel, prior: configs.lookup(kernel, prior=prior, **where)


def _problem(q: Tensor, precision: str, lengths: Tensor | None, cu_seqlens: Tensor | None) -> str:
    """Return what a measured choice of configurations depends on."""
    from ...kernels.locality_attention import autotune

    B, H, T, d = q.shape
    if cu_seqlens is not None:
        bags = cu_seqlens.shape[0] - 1
        return autotune.describe(precision, d, "packed", heads=H, bags=bags, rows=T)
    layout = "dense" if lengths is None else "padded"
    return autotune.describe(precision, d, layout, heads=B * H, T=T)


@functools.cache
def _architecture(device: torch.device) -> int | str:
    if _triton.INTERPRETED:
        return "interpreter"
    if torch.version.hip is not None:
        return "hip"
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


def _check(
    tensors: Mapping[str, Tensor],
    w: Tensor | None,
    b: Tensor | None,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    *,
    prior: str,
    lse: Tensor | None = None,
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Check all that the kernels trust; return w, b, lengths and cu_seqlens as they read them.

    Values of lengths and cu_seqlens are not looked at, which would wait for the device: the kernels
    clamp them into the tensors.

    Raises
    ------
    TypeError, ValueError
        If a device, dtype or shape is not what the kernels rely on.
    RuntimeError
        If Triton cannot run here.
    """
    q = tensors["q"]
    if q.dim() != 4:
        raise ValueError(f"q must have shape (B, H, T, d); got {tuple(q.shape)}")
    B, H, T, d = q.shape
    if q.dtype not in _DTYPES:
        raise TypeError(f"q must be float32, bfloat16 or float16; got {q.dtype}")
    if not 1 <= d <= MAX_HEAD_SIZE:
        raise ValueError(f"q must have a head size d from 1 to {MAX_HEAD_SIZE}; got {d}")
    if prior not in ("additive", "logit", "none"):
        raise ValueError(f"prior must be one of additive, logit, none; got {prior!r}")
    if lengths is not None and cu_seqlens is not None:
        raise ValueError("lengths and cu_seqlens exclude each other; got both")
    for name, x in tensors.items():
        _expect(name, x, q, (B, H, T, d), q.dtype)
    if lse is not None:
        _expect("lse", lse, q, (B, H, T), lse_dtype(q.dtype))
    if prior == "none":
        w = b = None
    elif w is None or b is None:
        raise ValueError(f"w and b must have shape ({H},) with prior={prior!r}; got None")
    else:
        w, b = (
            _expect(name, x, q, (H,), lse_dtype(q.dtype)).contiguous()
            for name, x in (("w", w), ("b", b))
        )
    if lengths is not None:
        lengths = _indices("lengths", lengths, q, (B,))
    if cu_seqlens is not None:
        entries = cu_seqlens.shape[0] if cu_seqlens.dim() == 1 else 0
        if B != 1 or entries < (2 if T > 0 else 1):
            raise ValueError(
                f"cu_seqlens must have shape (N + 1,), with B = 1 and N >= 1 bags for T = {T} "
                f"snippets; got {tuple(cu_seqlens.shape)} with B = {B}"
            )
        cu_seqlens = _indices("cu_seqlens", cu_seqlens, q, (entries,))
    if problems := _triton.problems(tensors):
        raise RuntimeError(f"impl='triton': {'; '.join(problems)}")
    return w, b, lengths, cu_seqlens


def _expect(name: str, x: Tensor, q: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    if x.device != q.device or x.layout != torch.strided:
        raise ValueError(
            f"{name} must be a dense tensor on {q.device}, as q is; got {x.layout} on {x.device}"
        )
    if x.dtype != dtype:
        raise TypeError(f"{name} must be {dtype}; got {x.dtype}")
    if tuple(x.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}; got {tuple(x.shape)}")
    check_memory(name, x)
    return x


def _indices(name: str, x: Tensor, q: Tensor, shape: tuple[int, ...]) -> Tensor:
    if x.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"{name} must be int32 or int64; got {x.dtype}")
    return _expect(name, x, q, shape, x.dtype).to(torch.int64).contiguous()
