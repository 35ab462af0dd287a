"""The compiled CPU kernels as a backend of locality attention.

`_check` is the only place where tensors become pointers that C++ trusts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ... import _native
from .._memory import check_memory
from .layout import empty_lse, empty_output, lse_dtype

NAME = "native"
MAX_HEAD_SIZE = 256

_DTYPES = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
}
_NO_TENSOR = (0, 0, 0, 0)


def why_not(q: Tensor, k: Tensor, v: Tensor) -> list[str]:
    """Return every reason why this backend cannot serve these tensors; none if it can."""
    reasons = []
    if _native.cpu_problem is not None:
        reasons.append(_native.cpu_problem)
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.device.type != "cpu":
            reasons.append(f"{name} is on {x.device}; the native kernels need CPU tensors")
    if q.dtype not in _DTYPES:
        reasons.append(
            f"q is {q.dtype}; the native kernels take float32, float64, bfloat16, float16"
        )
    if q.shape[-1] > MAX_HEAD_SIZE:
        reasons.append(f"the head size is {q.shape[-1]}; the native kernels reach {MAX_HEAD_SIZE}")
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
    prior. Rows of padding are 0 in all three.
    """
    cpu, problem, tensors = _check(
        {"q": q, "k": k, "v": v}, w, b, lengths, cu_seqlens, prior=prior, scale=scale
    )
    out, lse = empty_output(q), empty_lse(q)
    wanted = training and prior == "additive"
    softmax_out = empty_output(q) if wanted else q.new_empty(0)
    cpu.attention_forward(
        problem.handle,
        **{name: _describe(x) for name, x in tensors.items()},
        out=_describe(out),
        softmax_out=_describe(softmax_out) if wanted else _NO_TENSOR,
        lse=lse.data_ptr(),
    )
    return out, lse, softmax_out


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
    attended = softmax_out if prior == "additive" else out
    given = {"q": q, "k": k, "v": v, "grad_out": grad_out, "attended": attended}
    cpu, problem, tensors = _check(
        given, w, b, lengths, cu_seqlens, prior=prior, scale=scale, lse=lse
    )
    dq, dk, dv = (empty_output(q) for _ in range(3))
    dw = db = None
    if need_prior_grad and prior != "none":
        dw, db = (q.new_empty(q.shape[1], dtype=lse_dtype(q.dtype)) for _ in range(2))
    cpu.attention_backward(
        problem.handle,
        **{name: _describe(x) for name, x in tensors.items()},
        lse=problem.address_of_lse(),
        grad_q=_describe(dq),
        grad_k=_describe(dk),
        grad_v=_describe(dv),
        grad_w=0 if dw is None else dw.data_ptr(),
        grad_b=0 if db is None else db.data_ptr(),
    )
    return dq, dk, dv, dw, db


class _Problem:
    """A call as C++ knows it, and the tensors whose memory it points to."""

    def __init__(self, handle: Any, lse: Tensor | None, *keep: Tensor | None) -> None:
        self.handle = handle
        self.lse = lse
        self.keep = keep

    def address_of_lse(self) -> int:
        """Return the address of lse, which a backward pass has been given."""
        assert self.lse is not None
        return self.lse.data_ptr()


def _check(
    tensors: dict[str, Tensor],
    w: Tensor | None,
    b: Tensor | None,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    *,
    prior: str,
    scale: float,
    lse: Tensor | None = None,
) -> tuple[Any, _Problem, dict[str, Tensor]]:
    """Check all that the kernels trust; return the module, the problem and readable tensors.

    Tensors whose last axis does not have unit stride are copied; any other strides are read as
    they are.

    Raises
    ------
    TypeError, ValueError
        If a device, dtype, shape or value is not what the kernels rely on.
    RuntimeError
        If the compiled module is absent.
    """
    if _native.cpu is None:
        raise RuntimeError(f"impl='native': {_native.cpu_problem}")
    q = tensors["q"]
    if q.dim() != 4:
        raise ValueError(f"q must have shape (B, H, T, d); got {tuple(q.shape)}")
    B, H, T, d = q.shape
    if q.dtype not in _DTYPES:
        raise TypeError(f"q must be one of {', '.join(_DTYPES.values())}; got {q.dtype}")
    if not 1 <= d <= MAX_HEAD_SIZE:
        raise ValueError(f"q must have a head size d from 1 to {MAX_HEAD_SIZE}; got {d}")
    if prior not in ("additive", "logit", "none"):
        raise ValueError(f"prior must be one of additive, logit, none; got {prior!r}")
    if prior == "none":
        w = b = None
    elif w is None or b is None:
        raise ValueError(f"w and b must have shape ({H},) with prior={prior!r}; got None")
    if lengths is not None and cu_seqlens is not None:
        raise ValueError("lengths and cu_seqlens exclude each other; got both")

    tensors = {
        name: _readable(_expect(name, x, (B, H, T, d), q.dtype)) for name, x in tensors.items()
    }
    real = lse_dtype(q.dtype)
    w, b = (
        None if x is None else _expect(name, x, (H,), real).contiguous()
        for name, x in (("w", w), ("b", b))
    )
    if lse is not None:
        lse = _expect("lse", lse, (B, H, T), real).contiguous()
    if lengths is not None:
        lengths = _check_lengths(lengths, B, T)
    if cu_seqlens is not None:
        cu_seqlens = _check_cu_seqlens(cu_seqlens, B, T)
    handle = _native.cpu.AttentionProblem(
        dtype=_DTYPES[q.dtype],
        prior=prior,
        scale=float(scale),
        shape=(B, H, T, d),
        lengths=0 if lengths is None else lengths.data_ptr(),
        cu_seqlens=0 if cu_seqlens is None else cu_seqlens.data_ptr(),
        offsets=0 if cu_seqlens is None else cu_seqlens.shape[0],
        w=0 if w is None else w.data_ptr(),
        b=0 if b is None else b.data_ptr(),
        threads=torch.get_num_threads(),
    )
    return _native.cpu, _Problem(handle, lse, w, b, lengths, cu_seqlens), tensors


def _expect(name: str, x: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    if not x.is_cpu or x.layout is not torch.strided:
        raise ValueError(f"{name} must be a dense CPU tensor; got {x.layout} on {x.device}")
    if x.dtype is not dtype:
        raise TypeError(f"{name} must be {dtype}; got {x.dtype}")
    if x.shape != shape:
        raise ValueError(f"{name} must have shape {shape}; got {tuple(x.shape)}")
    check_memory(name, x)
    return x


def _readable(x: Tensor) -> Tensor:
    # A view that negates on access has another meaning than its memory. (Real numbers aren't
    # conjugated.)
    if x.is_neg():
        x = x.resolve_neg()
    if x.stride(-1) != 1 and x.shape[-1] > 1:
        x = x.contiguous()
    # No offset can overflow: the view is inside of memory that exists (_expect). What the kernels
    # allocate beside it is checked where it is computed (csrc/core/size.h).
    return x


def _check_lengths(lengths: Tensor, B: int, T: int) -> Tensor:
    _expect("lengths", lengths, (B,), torch.int64)
    if B > 0 and not 0 <= int(lengths.min()) <= int(lengths.max()) <= T:
        raise ValueError(f"lengths must be from 0 to T = {T}; got {lengths.tolist()}")
    return lengths.contiguous()


def _check_cu_seqlens(cu_seqlens: Tensor, B: int, T: int) -> Tensor:
    if cu_seqlens.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"cu_seqlens must be int32 or int64; got {cu_seqlens.dtype}")
    if cu_seqlens.dim() != 1 or cu_seqlens.shape[0] == 0 or B != 1:
        raise ValueError(
            f"cu_seqlens must have shape (N + 1,) with B = 1; got {tuple(cu_seqlens.shape)} with "
            f"B = {B}"
        )
    offsets = _expect("cu_seqlens", cu_seqlens, tuple(cu_seqlens.shape), cu_seqlens.dtype)
    offsets = offsets.to(torch.int64).contiguous()
    if int(offsets[0]) != 0 or int(offsets[-1]) != T or bool((offsets.diff() < 0).any()):
        raise ValueError(
            f"cu_seqlens must start at 0, never decrease and end at T = {T}; got {offsets.tolist()}"
        )
    return offsets


def _describe(x: Tensor) -> tuple[int, int, int, int]:
    return (x.data_ptr(), *x.stride()[:3])  # type: ignore[return-value]
