"""Executes PTX on a CPU: a SIMT interpreter in numpy, stricter than the hardware. See README.md.

`.interpreter` needs numpy alone, `.nvcc` the compiler of that name, and
`.triton_aot` triton and torch. Nothing here belongs to one project.
"""

from __future__ import annotations

from .interpreter import (
    DeviceMemory,
    Kernel,
    Order,
    Pointer,
    PtxError,
    Race,
    TensorMap,
    bf16_to_float,
    float_to_bf16,
    launch,
    parse,
    run,
)

__all__ = [
    "DeviceMemory",
    "Kernel",
    "Order",
    "Pointer",
    "PtxError",
    "Race",
    "TensorMap",
    "bf16_to_float",
    "float_to_bf16",
    "launch",
    "parse",
    "run",
]
