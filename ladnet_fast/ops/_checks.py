"""Checks of arguments that several operators share.

Shapes, dtypes and devices are checked where the call is traced. Values (of ``lengths``,
``cu_seqlens`` and ``labels``) are checked inside small operators of their own, so that compiled and
exported graphs stay whole: always on the CPU, and on other devices only with ``LADNET_CHECK=1``,
because the check waits for the device.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor

_INTEGERS = (torch.int32, torch.int64)


def check_floating(name: str, tensor: object, rank: int, shape: str) -> Tensor:
    """Return ``tensor`` if it is a floating tensor with ``rank`` axes, else raise."""
    if not isinstance(tensor, Tensor):
        raise TypeError(
            f"{name} must be a torch.Tensor of shape {shape}; got {type(tensor).__name__}. "
            f"Convert it with torch.as_tensor."
        )
    if tensor.dim() != rank:
        raise ValueError(f"{name} must have shape {shape}; got {tuple(tensor.shape)}")
    if not tensor.dtype.is_floating_point:
        raise TypeError(
            f"{name} must be float32, float64, bfloat16 or float16; got {tensor.dtype}. "
            f"Convert it with {name}.float()."
        )
    return tensor


def check_index_vector(name: str, tensor: object, size: int | None, like: Tensor) -> Tensor:
    """Return an int32 or int64 vector on ``like``'s device, of ``size`` entries if given."""
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
            f"{name} must have one entry a bag: {size} for this batch; got {tensor.shape[0]}"
        )
    if tensor.device != like.device:
        raise ValueError(
            f"{name} is on {tensor.device}, the other tensors on {like.device}; "
            f"move it with {name}.to({str(like.device)!r})"
        )
    return tensor


def _values_wanted(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" or os.environ.get("LADNET_CHECK") == "1"


def _first(bad: Tensor) -> int:
    return int(bad.nonzero()[0, 0])


@torch.library.custom_op("ladnet_fast::checked_lengths", mutates_args=())
def checked_lengths(lengths: Tensor, limit: int, least: int) -> Tensor:
    """Return ``lengths`` as int64 after checking ``least <= lengths <= limit``."""
    if _values_wanted(lengths):
        bad = (lengths < least) | (lengths > limit)
        if bad.any():
            bag = _first(bad)
            empty = " (an empty bag has no loss: leave it out of the batch)" if least else ""
            raise ValueError(
                f"lengths[{bag}] is {int(lengths[bag])}; every length must be from {least} to "
                f"T = {limit}{empty if lengths[bag] <= 0 else ''}"
            )
    return lengths.to(torch.int64, copy=True)


@checked_lengths.register_fake
def _(lengths: Tensor, limit: int, least: int) -> Tensor:
    return torch.empty_like(lengths, dtype=torch.int64)


@torch.library.custom_op("ladnet_fast::checked_cu_seqlens", mutates_args=())
def checked_cu_seqlens(cu_seqlens: Tensor, total: int, least: int) -> Tensor:
    """Return ``cu_seqlens`` as int64 after checking its values.

    It must start at 0, end at ``total`` and rise by at least ``least`` (0 or 1) from bag to bag.
    """
    if _values_wanted(cu_seqlens):
        if cu_seqlens.shape[0] == 0:
            raise ValueError("cu_seqlens is empty; it needs N + 1 entries for N bags, the first 0")
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
                f"cu_seqlens gives bag {bag} {int(sizes[bag])} snippets (from "
                f"{int(cu_seqlens[bag])} to {int(cu_seqlens[bag + 1])}); "
                + (
                    "lengths of at least 1 are needed: an empty bag has no loss, leave it out"
                    if least
                    else "it must never decrease"
                )
            )
    return cu_seqlens.to(torch.int64, copy=True)


@checked_cu_seqlens.register_fake
def _(cu_seqlens: Tensor, total: int, least: int) -> Tensor:
    return torch.empty_like(cu_seqlens, dtype=torch.int64)


@torch.library.custom_op("ladnet_fast::checked_labels", mutates_args=())
def checked_labels(labels: Tensor) -> Tensor:
    """Return ``labels`` as a new bool tensor after checking that every value is 0 or 1."""
    if _values_wanted(labels) and labels.dtype != torch.bool:
        bad = (labels != 0) & (labels != 1)
        if bad.any():
            bag = _first(bad)
            raise ValueError(
                f"labels[{bag}] is {labels[bag].item()}; a bag's label must be 0 (normal) or "
                f"1 (anomalous)"
            )
    return labels.to(torch.bool, copy=True)


@checked_labels.register_fake
def _(labels: Tensor) -> Tensor:
    return torch.empty_like(labels, dtype=torch.bool)
