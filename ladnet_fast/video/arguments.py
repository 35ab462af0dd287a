"""Checks of extraction's arguments, before any video is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from .._values import shown
from .extractors import Extractor, I3DExtractor
from .extractors.protocol import is_extractor
from .i3d import DTYPES

if TYPE_CHECKING:
    from .i3d import I3D


def as_extractor(model: object) -> Extractor:
    """Return ``model`` as an extractor: it is one, or an I3D network, or has its first layer.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if is_extractor(model):
        return model
    first = getattr(getattr(model, "conv_1a", None), "conv", None)
    if not isinstance(getattr(first, "weight", None), Tensor):
        raise ValueError(
            "model must be an I3D, e.g. I3D.from_pretrained(), or an extractor (see "
            f"ladnet_fast.video.extractors); got {shown(model)}"
        )
    return I3DExtractor(cast("I3D", model))


def require_progress(progress: object) -> None:
    """Raise ValueError unless ``progress`` can be called, or is None."""
    if progress is not None and not callable(progress):
        raise ValueError(f"progress must be a function or None; got {shown(progress)}")


def require_dtype(dtype: object) -> None:
    """Raise ValueError unless ``dtype`` is one that the network computes in, or None."""
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype in DTYPES):
        allowed = ", ".join(map(str, DTYPES))
        raise ValueError(f"dtype must be None or one of {allowed}; got {shown(dtype)}")


def require_device(device: str | torch.device | None) -> None:
    """Refuse a device that isn't there, before any video is opened."""
    if device is None:
        return
    try:
        if isinstance(device, (bool, bytes)):  # PyTorch takes True for the second GPU
            raise TypeError(f"a {type(device).__name__} is no device")
        kind = torch.device(device)
        if kind.type == "meta":
            raise ValueError("it computes nothing")
        if kind.type != "cuda":
            torch.empty(0, device=kind)
        elif (kind.index or 0) >= torch.cuda.device_count():  # which takes no memory of a GPU
            raise ValueError(f"PyTorch finds {torch.cuda.device_count()} GPUs")
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        reason = (str(error).splitlines() or [""])[0][:200]
        raise ValueError(
            f"device must be 'cpu', 'cuda' or another that PyTorch has on this machine; "
            f"got {shown(device)} ({reason})"
        ) from error
