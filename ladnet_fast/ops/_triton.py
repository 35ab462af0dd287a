"""Whether Triton can run kernels here; asked by the backends that use it."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from . import _capability
from ._impl import constant_in_graphs

#: The interpreter runs kernels on CPU tensors, for tests; Triton decides this when it is imported.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def problems(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return every reason why Triton cannot run on these tensors, by device; none if it can.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        The call's tensors by the names that its caller knows.
    """
    wanted = "cpu" if INTERPRETED else "cuda"
    reasons = []
    elsewhere = [
        f"{name} is on {x.device}" for name, x in tensors.items() if x.device.type != wanted
    ]
    if elsewhere:
        under = " under TRITON_INTERPRET=1" if INTERPRETED else ""
        reasons.append(f"the kernels need {wanted.upper()} tensors{under}: {', '.join(elsewhere)}")
    devices = {x.device.index for x in tensors.values() if x.device.type == wanted}
    if len(devices) > 1:
        reasons.append(f"the tensors are on {len(devices)} different devices")
    machine = _machine_problem(next(iter(devices)) if devices and wanted == "cuda" else None)
    return reasons if machine is None else [*reasons, machine]


def on_device(x: Tensor) -> AbstractContextManager[object]:
    """Return a context in which kernels are launched on the device of ``x``."""
    return torch.cuda.device(x.device) if x.device.type == "cuda" else nullcontext()


@functools.cache
def shared_bytes(device: torch.device) -> int | None:
    """Return how much shared memory Triton gives a block on a GPU; None for other devices."""
    if device.type != "cuda":
        return None
    from triton.runtime import driver

    index = torch.cuda.current_device() if device.index is None else device.index
    return int(driver.active.utils.get_device_properties(index)["max_shared_mem"])


@constant_in_graphs
def _machine_problem(index: int | None) -> str | None:
    """Return why Triton runs nowhere here, or not on the GPU of that index.

    Asked while a graph is traced, hence constant there.
    """
    return _cached_machine_problem(index)


@functools.cache
def _cached_machine_problem(index: int | None) -> str | None:
    try:
        import triton  # noqa: F401
    except ImportError as error:
        return (
            f"triton cannot be imported ({error}); it comes with the CUDA builds of torch, "
            f"or install it with: pip install triton"
        )
    if INTERPRETED:
        return None
    if not torch.cuda.is_available():
        return "torch sees no GPU; see torch.cuda.is_available()"
    if index is None:
        return None
    if torch.version.hip is None:
        problem = _capability.why_not(index)
        if problem is not None:
            return problem
    return _launcher_problem()


@functools.cache
def _launcher_problem() -> str | None:
    """Return why Triton cannot launch; it compiles its launcher, in C, at the first launch."""
    from triton.runtime import driver

    try:
        driver.active.utils  # noqa: B018
    except Exception as error:
        lines = str(error).strip().splitlines() or ["no message"]
        return (
            f"triton could not build its launcher ({type(error).__name__}: {lines[0]}); it needs a "
            f"C compiler and Python's headers: on Debian, apt install gcc python3-dev"
        )
    return None
