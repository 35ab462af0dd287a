"""The Triton kernels as a backend; the derivation is in kernels/residual_norm."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import _triton
from .._memory import check_memory

if TYPE_CHECKING:
    from .schema import Call

NAME = "triton"
#: A row lies in one program.
MAX_WIDTH = 8192

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def why_not(x: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor) -> list[str]:
    """Return every reason why this backend cannot serve these tensors; none if it can."""
    tensors = {"x": x, "hidden": hidden, "weight": weight, "bias": bias}
    reasons = _triton.problems(tensors)
    reasons += [
        f"{name} is {y.dtype}; the kernels take float32, bfloat16 and float16"
        for name, y in tensors.items()
        if y.dtype not in _DTYPES
    ]
    if x.shape[2] > MAX_WIDTH:
        reasons.append(f"the rows have {x.shape[2]} numbers; the kernels reach {MAX_WIDTH}")
    return reasons


def forward(call: Call) -> Tensor:
    """Return the normalised rows as `schema` describes them."""
    x, hidden, weight = _read(call)
    check_memory("bias", call.bias)
    out = x.new_empty(x.shape, dtype=call.dtype)
    with _triton.on_device(x):
        _plan().plan_forward(
            x, hidden, weight, call.bias.contiguous(), call.eps, call.lengths, out
        ).run()
    return out


def backward(
    grad: Tensor, call: Call, need_x: bool, need_hidden: bool, need_parameters: bool
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of x, hidden, weight and bias; None where nobody needs them."""
    x, hidden, weight = _read(call)
    check_memory("grad", grad)
    plan = _plan()
    grad_x = x.new_empty(x.shape) if need_x else None
    grad_hidden = x.new_empty(x.shape, dtype=hidden.dtype) if need_hidden else None
    weight_parts = bias_parts = None
    if need_parameters:
        shape = (plan.parts(x, hidden, call.lengths), x.shape[2])
        weight_parts, bias_parts = (x.new_empty(shape, dtype=torch.float32) for _ in range(2))
    with _triton.on_device(x):
        plan.plan_backward(
            grad.contiguous(), x, hidden, weight, call.eps, call.lengths,
            grad_x, grad_hidden, weight_parts, bias_parts,
        ).run()  # fmt: skip
    if weight_parts is None or bias_parts is None:
        return grad_x, grad_hidden, None, None
    # Sums of a fixed shape over a fixed axis: the same bits at every run.
    grad_weight, grad_bias = (p.sum(dim=0).to(weight.dtype) for p in (weight_parts, bias_parts))
    return grad_x, grad_hidden, grad_weight, grad_bias


def _plan() -> ModuleType:
    from ...kernels.residual_norm import plan  # imports Triton

    return plan


def _read(call: Call) -> tuple[Tensor, Tensor, Tensor]:
    """Return x, hidden and weight as the kernels read them; all memory is there."""
    rows = []
    for name, y in (("x", call.x), ("hidden", call.hidden)):
        check_memory(name, y)
        rows.append(y.contiguous() if y.shape[2] > 1 and y.stride(2) != 1 else y)
    check_memory("weight", call.weight)
    if call.lengths is not None:
        check_memory("lengths", call.lengths)
    return rows[0], rows[1], call.weight.contiguous()
