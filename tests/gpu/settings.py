"""On what, and how much, is checked: chosen by the environment.

``LADNET_GPU_SIZES``: "quick" (the default), "full", "small" or "tiny". ``LADNET_GPU_DEVICE``: a
CUDA device, by default the current one; "cpu" runs the kernels that Triton's interpreter runs,
where ``TRITON_INTERPRET=1`` is set, and otherwise the reference in their place: a test of the
checks.
"""

from __future__ import annotations

import os

import pytest
import torch

from .sizes import BY_NAME, Sizes

SIZES, DEVICE = "LADNET_GPU_SIZES", "LADNET_GPU_DEVICE"


def chosen_sizes() -> Sizes:
    """Return the sizes that the environment asks for."""
    name = os.environ.get(SIZES) or "quick"
    if name not in BY_NAME:
        raise pytest.UsageError(f"{SIZES} must be one of {', '.join(BY_NAME)}; got {name!r}")
    return BY_NAME[name]


def chosen_device() -> torch.device:
    """Return the device that the environment asks for; skip where there is no GPU to be had."""
    name = os.environ.get(DEVICE) or "cuda"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise pytest.UsageError(f"{DEVICE} must be a torch device; got {name!r}") from error
    if device.type != "cuda":
        return device
    if not torch.cuda.is_available():
        pytest.skip("no GPU: torch.cuda.is_available() is False")
    if device.index is not None:
        count = torch.cuda.device_count()
        if device.index >= count:
            known = ", ".join(f"cuda:{index}" for index in range(count))
            raise pytest.UsageError(f"{DEVICE} must be one of {known}; got {name!r}")
        torch.cuda.set_device(device)
    return torch.device("cuda", torch.cuda.current_device())
