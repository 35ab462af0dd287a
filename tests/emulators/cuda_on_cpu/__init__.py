"""Executes CUDA kernels on a CPU: .cu files compiled by g++, every thread a fiber. See README.md.

Nothing here belongs to one project: g++, CUDA's headers, numpy and, for `.fixtures`, pytest.
"""

from __future__ import annotations

from .device import SCHEDULES, Device, KernelFaultError, call
from .toolchain import (
    ADDRESS,
    FLAVOURS,
    PLAIN,
    THREAD,
    Flavour,
    build_emulator,
    build_extension,
    build_kernels,
    problem,
    runtimes,
)

__all__ = [
    "ADDRESS",
    "FLAVOURS",
    "PLAIN",
    "SCHEDULES",
    "THREAD",
    "Device",
    "Flavour",
    "KernelFaultError",
    "build_emulator",
    "build_extension",
    "build_kernels",
    "call",
    "problem",
    "runtimes",
]
