"""Plans of the score head's kernels: block sizes, grids and arguments.

The caller hands in what is to be filled. Planning launches nothing, see ``kernels/launch.py``.
"""

from __future__ import annotations

import triton
from torch import Tensor

from ..launch import Launch
from .backward import score_head_backward
from .forward import score_head_forward

#: Rows that a program reads at a time. The forward kernel writes the scores of those rows whose
#: taps are all among them.
FORWARD_ROWS = 128
BACKWARD_ROWS = 32
#: Programs of the backward pass, at most; each writes one part of the weight's gradient. A constant
#: and not the number of multiprocessors, so that every GPU adds the same sums in the same order.
MAX_PARTS = 512
#: Channels that a program reads at a time, at most.
CHANNELS = 64
#: Release of Triton -> the passes that would spill registers with CHANNELS channels in float32,
#: whose products do not use tensor cores. Releases that are not listed: _SPILLING_LATER.
_SPILLING: dict[tuple[int, int], tuple[str, ...]] = {(3, 5): ("backward",), (3, 6): (), (3, 7): ()}
_SPILLING_LATER = ("forward", "backward")
_RELEASE = (int(triton.__version__.split(".")[0]), int(triton.__version__.split(".")[1]))
#: So many elements are at least 16 bytes in every dtype; also tl.dot's least size.
_ALIGNED = 16


def plan_forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    lengths: Tensor | None,
    scores: Tensor,
    slopes: Tensor | None,
    *,
    block_channels: int | None = None,
) -> Launch:
    """Plan the forward kernel.

    Parameters
    ----------
    x : Tensor
        (B, T, C), unit stride along C.
    weight, bias : Tensor
        (1, C, K) contiguous, and (1,).
    lengths : Tensor or None
        (B,) int64.
    scores : Tensor
        (B, T) contiguous, to be filled.
    slopes : Tensor or None
        (B, T) float32 contiguous, to be filled; None if there will be no backward pass.
    block_channels : int, optional
        One of `channels`; the first by default.
    """
    B, T, _ = x.shape
    taps = weight.shape[2]
    unit = _unit(x)
    return Launch(
        score_head_forward,
        (B * triton.cdiv(T, FORWARD_ROWS - (taps - 1)),),
        {
            "X": x,
            "WEIGHT": weight,
            "BIAS": bias,
            "LENGTHS": lengths,
            "SCORES": scores,
            "SLOPES": slopes,
            **_sizes(x, unit),
        },
        {
            "HAS_LENGTHS": lengths is not None,
            "SAVE_SLOPES": slopes is not None,
            "UNIT": unit,
            "TAPS": taps,
            "BLOCK_T": FORWARD_ROWS,
            "BLOCK_C": block_channels or channels(x, "forward")[0],
            "BLOCK_TAPS": max(_ALIGNED, triton.next_power_of_2(taps)),
        },
        num_warps=4,
        num_stages=2,
    )


def parts(x: Tensor) -> int:
    """Return P, the number of parts that the gradients of the parameters are summed from."""
    blocks = x.shape[0] * triton.cdiv(x.shape[1], BACKWARD_ROWS)
    return triton.cdiv(blocks, triton.cdiv(blocks, MAX_PARTS)) if blocks else 0


def plan_backward(
    grad_scores: Tensor,
    x: Tensor,
    weight: Tensor,
    slopes: Tensor,
    lengths: Tensor | None,
    grad_x: Tensor | None,
    weight_parts: Tensor | None,
    bias_parts: Tensor | None,
    *,
    block_channels: int | None = None,
) -> Launch:
    """Plan the backward kernel; other arguments as in `plan_forward`.

    Parameters
    ----------
    grad_scores : Tensor
        (B, T) contiguous.
    grad_x : Tensor or None
        (B, T, C) contiguous, to be filled; None if it is not needed.
    weight_parts, bias_parts : Tensor or None
        (P, C, K) and (P,) float32 contiguous, with P from `parts`, to be filled: the sums
        over the first axis are the gradients of weight and bias. None if these are not needed.
    """
    B, T, C = x.shape
    taps = weight.shape[2]
    unit = _unit(x)
    block_c = block_channels or channels(x, "backward")[0]
    blocks = B * triton.cdiv(T, BACKWARD_ROWS)
    return Launch(
        score_head_backward,
        (parts(x), triton.cdiv(C, block_c)),
        {
            "X": x,
            "WEIGHT": weight,
            "GRAD": grad_scores,
            "SLOPES": slopes,
            "LENGTHS": lengths,
            "GRAD_X": grad_x,
            "WEIGHT_PARTS": weight_parts,
            "BIAS_PARTS": bias_parts,
            **_sizes(x, unit),
            "blocks": blocks,
            "blocks_per_program": triton.cdiv(blocks, MAX_PARTS),
        },
        {
            "HAS_LENGTHS": lengths is not None,
            "NEED_INPUT": grad_x is not None,
            "NEED_PARAMETERS": weight_parts is not None,
            "SPLIT": x.element_size() == 2,
            "UNIT": unit,
            "TAPS": taps,
            "BLOCK_T": BACKWARD_ROWS,
            "BLOCK_C": block_c,
            "BLOCK_TAPS": max(_ALIGNED, triton.next_power_of_2(taps)),
        },
        num_warps=4,
        num_stages=1,
    )


def channels(x: Tensor, pass_: str) -> tuple[int, ...]:
    """Return how many channels a program of a pass may read at a time, the best number first.

    The others need less shared memory.
    """
    most = CHANNELS
    if x.element_size() == 4 and pass_ in _SPILLING.get(_RELEASE, _SPILLING_LATER):
        most = CHANNELS // 2
    most = max(_ALIGNED, min(most, triton.next_power_of_2(x.shape[2])))
    return tuple(most >> i for i in range((most // _ALIGNED).bit_length()))


def _unit(x: Tensor) -> int:
    """Return the number of elements that strides and C are counted in, a constant of the kernels.

    It tells the compiler that rows are aligned to 16 bytes, without specialising any run-time size:
    all lengths share one compiled kernel.
    """
    sizes = (x.stride(0), x.stride(1), x.shape[2])
    return 1 if any(size % _ALIGNED for size in sizes) else _ALIGNED


def _sizes(x: Tensor, unit: int) -> dict[str, int]:
    return {
        "x_stride_b": x.stride(0) // unit,
        "x_stride_t": x.stride(1) // unit,
        "T": x.shape[1],
        "channels": x.shape[2] // unit,
    }
