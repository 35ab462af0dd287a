"""Plans of the kernels of mask, residual and LayerNorm: block sizes, grids and arguments.

The caller hands in what is to be filled. Planning launches nothing, see ``kernels/launch.py``.
"""

from __future__ import annotations

import triton
from torch import Tensor

from ..launch import Launch
from .backward import residual_norm_backward
from .forward import residual_norm_forward

#: Elements that a thread holds of each tensor; with both sums of the backward pass that is about
#: half of its registers.
_PER_THREAD = 16
_WARP = 32
_LEAST_WARPS = 4
#: A row lies in one program. Each of 512 threads may have 128 registers; 1024 threads would spill.
MAX_WIDTH = _PER_THREAD * 512
#: Programs of the backward pass, at most; each writes one part of the parameters' gradients. A
#: constant and not the number of multiprocessors, so that every GPU adds the same sums in order.
MAX_PARTS = 512
#: So many elements are at least 16 bytes in every dtype.
_ALIGNED = 16


def plan_forward(
    x: Tensor,
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    lengths: Tensor | None,
    out: Tensor,
) -> Launch:
    """Plan the forward kernel.

    Parameters
    ----------
    x, hidden : Tensor
        (B, T, D), unit stride along D.
    weight, bias : Tensor
        (D,) contiguous.
    eps : float
        Added to the variance.
    lengths : Tensor or None
        (B,) int64.
    out : Tensor
        (B, T, D) contiguous, to be filled.
    """
    sizes, unit = _sizes(x, hidden, lengths)
    return Launch(
        residual_norm_forward,
        (_blocks(x, hidden, lengths),),
        {
            "X": x,
            "HIDDEN": hidden,
            "WEIGHT": weight,
            "BIAS": bias,
            "LENGTHS": lengths,
            "OUT": out,
            **sizes,
            "eps": eps,
        },
        {"HAS_LENGTHS": lengths is not None, "UNIT": unit, **_block(x)},
        num_warps=_warps(x),
        num_stages=1,
    )


def parts(x: Tensor, hidden: Tensor, lengths: Tensor | None) -> int:
    """Return P, the number of parts that the gradients of the parameters are summed from."""
    blocks = _blocks(x, hidden, lengths)
    return triton.cdiv(blocks, triton.cdiv(blocks, MAX_PARTS)) if blocks else 0


def plan_backward(
    grad: Tensor,
    x: Tensor,
    hidden: Tensor,
    weight: Tensor,
    eps: float,
    lengths: Tensor | None,
    grad_x: Tensor | None,
    grad_hidden: Tensor | None,
    weight_parts: Tensor | None,
    bias_parts: Tensor | None,
) -> Launch:
    """Plan the backward kernel; other arguments as in `plan_forward`.

    Parameters
    ----------
    grad : Tensor
        (B, T, D) contiguous.
    grad_x, grad_hidden : Tensor or None
        (B, T, D) contiguous, to be filled; None if not needed.
    weight_parts, bias_parts : Tensor or None
        (P, D) float32 contiguous, with P from `parts`, to be filled: the sums over the first axis
        are the gradients of weight and bias. None if these are not needed.
    """
    sizes, unit = _sizes(x, hidden, lengths)
    blocks = _blocks(x, hidden, lengths)
    return Launch(
        residual_norm_backward,
        (parts(x, hidden, lengths),),
        {
            "X": x,
            "HIDDEN": hidden,
            "WEIGHT": weight,
            "GRAD": grad,
            "LENGTHS": lengths,
            "GRAD_X": grad_x,
            "GRAD_HIDDEN": grad_hidden,
            "WEIGHT_PARTS": weight_parts,
            "BIAS_PARTS": bias_parts,
            **sizes,
            "eps": eps,
            "blocks": blocks,
            "blocks_per_program": triton.cdiv(blocks, MAX_PARTS),
        },
        {
            "HAS_LENGTHS": lengths is not None,
            "NEED_X": grad_x is not None,
            "NEED_HIDDEN": grad_hidden is not None,
            "NEED_PARAMETERS": weight_parts is not None,
            "UNIT": unit,
            **_block(x),
        },
        num_warps=_warps(x),
        num_stages=1,
    )


def _warps(x: Tensor) -> int:
    return max(_LEAST_WARPS, _width(x) // (_PER_THREAD * _WARP))


def _width(x: Tensor) -> int:
    return max(_ALIGNED, int(triton.next_power_of_2(x.shape[2])))


def _block(x: Tensor) -> dict[str, int]:
    held = _PER_THREAD * _WARP * _warps(x)
    return {"BLOCK_T": held // _width(x), "BLOCK_D": _width(x)}


def _blocks(x: Tensor, hidden: Tensor, lengths: Tensor | None) -> int:
    B, T = _rows(x, hidden, lengths)
    return B * int(triton.cdiv(T, _block(x)["BLOCK_T"]))


def _rows(x: Tensor, hidden: Tensor, lengths: Tensor | None) -> tuple[int, int]:
    """Return (B, T) as the kernels see them: one long bag where nothing tells bags apart."""
    B, T, _ = x.shape
    ends = lengths is not None or any(y.stride(0) != T * y.stride(1) for y in (x, hidden))
    return (B, T) if ends else (1, B * T)


def _sizes(x: Tensor, hidden: Tensor, lengths: Tensor | None) -> tuple[dict[str, int], int]:
    """Return strides and sizes, and the number of elements that they count, a constant.

    It tells the compiler that rows are aligned to 16 bytes, without specialising any run-time size:
    all lengths share one compiled kernel.
    """
    sizes = {
        "x_stride_b": x.stride(0),
        "x_stride_t": x.stride(1),
        "hidden_stride_b": hidden.stride(0),
        "hidden_stride_t": hidden.stride(1),
        "columns": x.shape[2],
    }
    unit = 1 if any(size % _ALIGNED for size in sizes.values()) else _ALIGNED
    counted = {name: size // unit for name, size in sizes.items()}
    return {**counted, "T": _rows(x, hidden, lengths)[1]}, unit
