"""Checks of LANet's options and of what it is called with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .. import _values
from ..ops import _checks
from . import _paths

if TYPE_CHECKING:
    from .lanet import LANet


def check_fits(net: LANet, name: str, x: Tensor, layer: nn.Module) -> None:
    """Raise if the first layer to read ``x`` has weights of another dtype or device."""
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor):
        return
    if x.dtype == weight.dtype and x.device == weight.device:
        return
    has, wants = (_checks.autocast_dtype(t) or t.dtype for t in (x, weight))
    if (has == wants and x.device == weight.device) or not _paths.is_untouched(net):
        return  # somebody's own layers, or hooks on ours, may take what PyTorch's don't
    if x.device != weight.device:
        raise ValueError(
            f"{name} must be on {weight.device}, where the network's weights are; got {x.device}. "
            + _meeting_place(name, x.device, weight.device)
        )
    cast = (has, wants) != (x.dtype, weight.dtype)
    of_norm = net.norm.weight.dtype == weight.dtype
    raise TypeError(
        f"{name} must be {weight.dtype}, as the network's weights are; got {x.dtype}"
        f"{' (autocast leaves float64 as it is)' if cast else ''}. Convert it with "
        f"{name}.to({'net.norm.weight.dtype' if of_norm else weight.dtype}), or the network "
        f"with net.to({x.dtype})."
    )


def _meeting_place(name: str, given: torch.device, weights: torch.device) -> str:
    """Say how input and weights come to one device; tensors on meta have no data to move."""
    if given.type == "meta":
        return f"For shapes alone move the network, net.to('meta'); else give {name} with data."
    if weights.type == "meta":
        return (
            f"Give the network memory with net.to_empty(device={str(given)!r}) and load its "
            f"state dict."
        )
    return f"Move it with {name}.to({str(weights)!r})."


def checked_widths(mlp_dims: Sequence[int]) -> tuple[int, ...]:
    """Return the widths of the MLP's layers as Python's integers, else raise ``ValueError``."""
    if isinstance(mlp_dims, str | bytes) or not (
        hasattr(mlp_dims, "__getitem__") and hasattr(mlp_dims, "__len__")
    ):
        raise ValueError(
            f"mlp_dims must be a sequence of integers, such as (512, 128); "
            f"got {_values.shown(mlp_dims)}"
        )
    widths = tuple(
        _values.whole_number(f"mlp_dims[{i}]", mlp_dims[i]) for i in range(len(mlp_dims))
    )
    if not widths:
        raise ValueError("mlp_dims must hold the output width of at least one layer; got it empty")
    return widths


def check_width(name: str, x: Tensor, option: str, width: int) -> None:
    """Raise unless ``x`` is (B, T, width); ``option`` is what LANet calls the width."""
    _checks.check_floating(name, x, 3, f"(B, T, {width})")
    if x.shape[2] != width:
        raise ValueError(
            f"{name} must have {width} features per snippet, since the network was made with "
            f"{option} = {width}; got {x.shape[2]} features. Pass {option}={x.shape[2]} to LANet, "
            f"or give other features."
        )
