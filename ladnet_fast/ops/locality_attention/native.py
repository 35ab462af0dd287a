"""The compiled CPU kernels as a backend of locality attention.

C++ reads tensors that are plain and lie as the kernels need them by itself, which for a short bag
costs less than the rest of the call. Where it cannot, tensors become pointers here, which C++
trusts: a call's shapes, dtypes and values have been checked, its memory is here.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ... import _native
from .._memory import check_memory
from .checks import check_saved
from .layout import empty_lse, empty_output, empty_prior_grad

if TYPE_CHECKING:
    from .schema import Call

NAME = "native"
MAX_HEAD_SIZE = 256
#: Multiplications of q k^T that a thread gets at least: starting it takes as long as some 2^18, and
#: while it waits for the next call it slows down its neighbour on the same core.
LEAST_WORK = 2**19

_DTYPES = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
}
_NO_TENSOR = (0, 0, 0, 0)


def why_not(q: Tensor, k: Tensor, v: Tensor) -> list[str]:
    """Return every reason why this backend cannot serve these tensors; none if it can."""
    if (
        _native.cpu_problem is None
        and q.is_cpu
        and k.is_cpu
        and v.is_cpu
        and q.dtype in _DTYPES
        and q.shape[3] <= MAX_HEAD_SIZE
    ):
        return []
    reasons = []
    if _native.cpu_problem is not None:
        reasons.append(_native.cpu_problem)
    for name, x in (("q", q), ("k", k), ("v", v)):
        if not x.is_cpu:
            reasons.append(f"{name} is on {x.device}; the native kernels need CPU tensors")
    if q.dtype not in _DTYPES:
        reasons.append(
            f"q is {q.dtype}; the native kernels take float32, float64, bfloat16, float16"
        )
    if q.shape[-1] > MAX_HEAD_SIZE:
        reasons.append(f"the head size is {q.shape[-1]}; the native kernels reach {MAX_HEAD_SIZE}")
    return reasons


def forward(call: Call) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return ``(out, lse, softmax_out)`` in the operator's layout; rows of padding are 0 in all.

    ``softmax_out`` is 0 where `longest_without_sums` says that `backward` does not read it.
    """
    cpu: Any = _native.cpu  # there, or `why_not` would have said so
    q = call.q
    out, lse = empty_output(q), empty_lse(q)
    softmax_out = wanted = None
    if call.training and call.prior == "additive":
        softmax_out = wanted = empty_output(q)
        if q.shape[2] <= longest_without_sums(q.dtype):
            # Nobody reads it; the operator's schema has it for every length.
            softmax_out.zero_()
            wanted = None
    if cpu.attention_forward_of_tensors(*_given(call), out, wanted, lse):
        return out, lse, softmax_out
    copies: list[Tensor] = []
    cpu.attention_forward(
        _problem(cpu, call, copies),
        q=_rows("q", q, copies),
        k=_rows("k", call.k, copies),
        v=_rows("v", call.v, copies),
        out=_described(out),
        softmax_out=_NO_TENSOR if wanted is None else _described(wanted),
        lse=lse.data_ptr(),
    )
    return out, lse, softmax_out


def backward(
    grad_out: Tensor, call: Call, attended: Tensor, lse: Tensor, need_prior_grad: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """Return the gradients of q, k, v, w and b; the last two None unless ``need_prior_grad``.

    ``attended`` and ``lse`` are what `forward` returned.
    """
    cpu: Any = _native.cpu
    q = call.q
    dq, dk, dv = empty_output(q), empty_output(q), empty_output(q)
    dw = db = None
    if need_prior_grad:
        dw, db = empty_prior_grad(q), empty_prior_grad(q)
    if cpu.attention_backward_of_tensors(
        *_given(call), grad_out, attended, lse, dq, dk, dv, dw, db
    ):
        return dq, dk, dv, dw, db
    check_saved(call, grad_out, attended, lse)
    copies: list[Tensor] = []
    cpu.attention_backward(
        _problem(cpu, call, copies),
        grad_out=_rows("grad_out", grad_out, copies),
        q=_rows("q", q, copies),
        k=_rows("k", call.k, copies),
        v=_rows("v", call.v, copies),
        attended=_rows("attended", attended, copies),
        lse=_address("lse", lse, copies),
        grad_q=_described(dq),
        grad_k=_described(dk),
        grad_v=_described(dv),
        grad_w=0 if dw is None else dw.data_ptr(),
        grad_b=0 if db is None else db.data_ptr(),
    )
    return dq, dk, dv, dw, db


@functools.cache
def longest_without_sums(dtype: torch.dtype) -> int:
    """Return up to how many snippets a bag's backward pass reads nothing that forward has left."""
    cpu: Any = _native.cpu
    return int(cpu.attention_longest_without_sums(dtype=_DTYPES[dtype]))


def _given(call: Call) -> tuple[Any, ...]:
    """Return what both functions of tensors begin with."""
    q, k, v, w, b, lengths, cu_seqlens, prior, scale, _, _ = call
    return q, k, v, w, b, prior, lengths, cu_seqlens, scale, threads_for(*q.shape)


def threads_for(B: int, H: int, T: int, d: int) -> int:
    """Return how many threads have enough to do; the results have the same bits for any number."""
    return min(torch.get_num_threads(), max(1, B * H * T * T * d // LEAST_WORK))


def _problem(cpu: Any, call: Call, copies: list[Tensor]) -> Any:
    """Return the call as C++ knows it; ``copies`` gets tensors that must live as long."""
    offsets = call.cu_seqlens
    return cpu.AttentionProblem(
        dtype=_DTYPES[call.q.dtype],
        prior=call.prior,
        scale=call.scale,
        shape=call.q.shape,
        lengths=_address("lengths", call.lengths, copies),
        cu_seqlens=_address("cu_seqlens", offsets, copies),
        offsets=0 if offsets is None else offsets.shape[0],
        w=_address("prior_w", call.w, copies),
        b=_address("prior_b", call.b, copies),
        threads=threads_for(*call.q.shape),
    )


def _rows(name: str, x: Tensor, copies: list[Tensor]) -> tuple[int, int, int, int]:
    """Describe x, or a copy if its last axis does not have unit stride."""
    # No offset can overflow: the view is inside of memory that exists. What the kernels allocate
    # beside it is checked where it is computed (csrc/core/size.h).
    check_memory(name, x)
    batch, head, row, unit = x.stride()
    if (unit != 1 and x.shape[3] > 1) or x.is_neg():
        x = _copied(x, copies)
        return _described(x)
    return x.data_ptr(), batch, head, row


def _address(name: str, x: Tensor | None, copies: list[Tensor]) -> int:
    """Return the address of x, or of a copy if it is not contiguous; 0 for None."""
    if x is None:
        return 0
    check_memory(name, x)
    if not x.is_contiguous() or x.is_neg():
        x = _copied(x, copies)
    return x.data_ptr()


def _copied(x: Tensor, copies: list[Tensor]) -> Tensor:
    # A view that negates on access has another meaning than its memory. (Real numbers aren't
    # conjugated.)
    copies.append(x.resolve_neg().contiguous())
    return copies[-1]


def _described(x: Tensor) -> tuple[int, int, int, int]:
    batch, head, row, _ = x.stride()
    return x.data_ptr(), batch, head, row
