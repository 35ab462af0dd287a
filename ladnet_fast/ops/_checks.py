"""Checks of arguments that several operators have in common.

Shapes, dtypes and devices are checked where the call is traced. Values (of ``lengths``,
``cu_seqlens`` and ``labels``) are checked inside small operators of their own, so that compiled and
exported graphs stay whole: always on the CPU, and on other devices only with ``LADNET_CHECK=1``,
because the check waits for the device.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor

from . import _memory
from ._operator import operator

_INTEGERS = (torch.int32, torch.int64)
#: What is wrong where both are given; the layouts are described in the functions' docstrings.
BOTH_LAYOUTS = "lengths and cu_seqlens exclude each other; got both. Give the one for your layout."
_EMPTY_BAG = ". An empty bag has no loss: leave it out of the batch."
_FLOATING = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_PLAIN = (Tensor, torch.nn.Parameter)


def check_floating(name: str, tensor: object, rank: int, shape: str) -> Tensor:
    """Return ``tensor`` if it is a dense floating tensor with ``rank`` axes, else raise."""
    if not isinstance(tensor, Tensor):
        raise TypeError(
            f"{name} must be a torch.Tensor of shape {shape}; got {type(tensor).__name__}. "
            f"Convert it with torch.as_tensor."
        )
    if tensor.layout is not torch.strided or tensor.is_nested or type(tensor) not in _PLAIN:
        _check_dense(name, tensor)
    if tensor.dim() != rank:
        raise ValueError(f"{name} must have shape {shape}; got {tuple(tensor.shape)}")
    if tensor.dtype not in _FLOATING:
        raise TypeError(
            f"{name} must be float32, float64, bfloat16 or float16; got {tensor.dtype}. "
            f"Convert it with {name}.{_conversion(name, tensor)}."
        )
    return tensor


def _check_dense(name: str, tensor: Tensor) -> None:
    if tensor.is_nested:
        raise TypeError(
            f"{name} must be a dense tensor; got a nested one ({tensor.layout}). Convert it with "
            f"torch.nested.to_padded_tensor({name}, 0.0) and give the bags' lengths."
        )
    if type(tensor) is torch.masked.MaskedTensor:
        raise TypeError(
            f"{name} must be a dense tensor; got a masked one. Convert it with "
            f"{name}.to_tensor(0.0) and give the bags' lengths."
        )
    if tensor.layout is not torch.strided:
        raise TypeError(
            f"{name} must be a dense tensor; got layout {tensor.layout}. Convert it with "
            f"{name}.to_dense()."
        )


def _conversion(name: str, tensor: Tensor) -> str:
    """Return the method, for the message, that converts a tensor to a dtype that is allowed."""
    if tensor.is_complex():
        return f"abs(), or with {name}.real for the real part"
    return "dequantize()" if tensor.is_quantized else "float()"


def check_index_vector(name: str, tensor: object, size: int | None, like: Tensor) -> Tensor:
    """Return an int32 or int64 vector on ``like``'s device, of ``size`` entries if given."""
    if isinstance(tensor, Tensor):
        _check_dense(name, tensor)
    if not isinstance(tensor, Tensor) or tensor.dtype not in _INTEGERS or tensor.dim() != 1:
        given = (
            f"{tensor.dtype} of shape {tuple(tensor.shape)}"
            if isinstance(tensor, Tensor)
            else type(tensor).__name__
        )
        raise TypeError(
            f"{name} must be a one-dimensional int32 or int64 tensor; got {given}. "
            f"Build it with torch.tensor([...])."
        )
    if size is not None and tensor.shape[0] != size:
        raise ValueError(
            f"{name} must have one entry per bag, {size} for this batch; got {tensor.shape[0]}"
        )
    if tensor.device != like.device:
        raise ValueError(
            f"{name} must be on {like.device}, as the other tensors are; got {tensor.device}. "
            f"Move it with {name}.to({str(like.device)!r})."
        )
    return tensor


def check_label_vector(tensor: object) -> Tensor:
    """Return ``tensor`` if it is a dense vector of real numbers, as labels are, else raise."""
    if not isinstance(tensor, Tensor):
        raise TypeError(
            f"labels must be a tensor of shape (N,), one 0 or 1 per bag; got "
            f"{type(tensor).__name__}. Build it with torch.tensor([...])."
        )
    _check_dense("labels", tensor)
    if tensor.dim() != 1 or tensor.is_complex() or tensor.is_quantized:
        raise TypeError(
            f"labels must be a tensor of shape (N,), one 0 or 1 per bag; got {tensor.dtype} of "
            f"shape {tuple(tensor.shape)}"
        )
    return tensor


def expect(
    name: str, x: Tensor, device: torch.device, shape: tuple[int, ...], dtype: torch.dtype
) -> Tensor:
    """Return ``x`` if it is dense, on that device, of that shape and dtype, else raise."""
    if x.layout is not torch.strided or x.device != device:
        raise ValueError(
            f"{name} must be a dense tensor on {device}, as the others are; got {x.layout} on "
            f"{x.device}"
        )
    if x.dtype is not dtype:
        raise TypeError(f"{name} must be {dtype}; got {x.dtype}")
    if x.shape != shape:
        raise ValueError(f"{name} must have shape {tuple(shape)}; got {tuple(x.shape)}")
    return x


def autocast_dtype(tensor: Tensor) -> torch.dtype | None:
    """Return the dtype to which autocast converts ``tensor`` now; None where it leaves it."""
    device = "cpu" if tensor.is_cpu else tensor.device.type
    # The meta device has no autocast, and asking for it is an error.
    if device == "meta" or tensor.dtype == torch.float64 or not torch.is_autocast_enabled(device):
        return None
    return torch.get_autocast_dtype(device)


def _values_wanted(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" or os.environ.get("LADNET_CHECK") == "1"


def _copied(indices: Tensor) -> Tensor:
    return indices.clone() if indices.dtype is torch.int64 else indices.to(torch.int64)


def _first(bad: Tensor) -> int:
    return int(bad.nonzero()[0, 0])


@operator("ladnet_fast::checked_lengths")
def checked_lengths(lengths: Tensor, limit: int, least: int) -> Tensor:
    """Return ``lengths`` as int64 after checking ``least <= lengths <= limit``."""
    _memory.check_memory("lengths", lengths)
    if _values_wanted(lengths) and lengths.shape[0]:
        low, high = lengths.aminmax()
        if int(low) < least or int(high) > limit:
            bag = _first((lengths < least) | (lengths > limit))
            raise ValueError(
                f"lengths[{bag}] must be from {least} to T = {limit}; got {int(lengths[bag])}"
                + (_EMPTY_BAG if least and lengths[bag] <= 0 else "")
            )
    return _copied(lengths)


@checked_lengths.register_fake
def _(lengths: Tensor, limit: int, least: int) -> Tensor:
    return torch.empty_like(lengths, dtype=torch.int64)


@operator("ladnet_fast::checked_cu_seqlens")
def checked_cu_seqlens(cu_seqlens: Tensor, total: int, least: int) -> Tensor:
    """Return ``cu_seqlens`` as int64 after checking its values.

    It must start at 0, end at ``total`` and rise by at least ``least`` (0 or 1) from bag to bag.
    """
    _memory.check_memory("cu_seqlens", cu_seqlens)
    if cu_seqlens.shape[0] == 0:
        raise ValueError("cu_seqlens must have N + 1 entries for N bags, the first 0; got it empty")
    if _values_wanted(cu_seqlens):
        if int(cu_seqlens[0]) != 0 or int(cu_seqlens[-1]) != total:
            raise ValueError(
                f"cu_seqlens must start at 0 and end at the number of packed snippets, {total}; "
                f"got {int(cu_seqlens[0])} and {int(cu_seqlens[-1])}"
            )
        sizes = cu_seqlens.diff()
        bad = sizes < least
        if bad.any():
            bag = _first(bad)
            raise ValueError(
                f"cu_seqlens must {'rise from bag to bag' if least else 'never decrease'}; got "
                f"{int(cu_seqlens[bag])} and then {int(cu_seqlens[bag + 1])} for bag {bag}"
                + (_EMPTY_BAG if least else "")
            )
    elif cu_seqlens.shape[0] == 1 and total:
        raise ValueError(f"cu_seqlens must have N >= 1 bags for {total} snippets; got none")
    return _copied(cu_seqlens)


@checked_cu_seqlens.register_fake
def _(cu_seqlens: Tensor, total: int, least: int) -> Tensor:
    return torch.empty_like(cu_seqlens, dtype=torch.int64)


@operator("ladnet_fast::checked_labels")
def checked_labels(labels: Tensor) -> Tensor:
    """Return ``labels`` as a new bool tensor after checking that every value is 0 or 1."""
    _memory.check_memory("labels", labels)
    if _values_wanted(labels) and labels.dtype != torch.bool:
        bad = (labels != 0) & (labels != 1)
        if bad.any():
            bag = _first(bad)
            raise ValueError(
                f"labels[{bag}] must be 0 (normal) or 1 (anomalous); got {labels[bag].item()}"
            )
    return labels.to(torch.bool, copy=True)


@checked_labels.register_fake
def _(labels: Tensor) -> Tensor:
    return torch.empty_like(labels, dtype=torch.bool)
