"""Executes PTX on a CPU: a SIMT interpreter in numpy, stricter than the hardware.

``run`` takes PTX text, a kernel's name, the shapes of grid and block, and arguments; arrays are
changed in place. README.md, a folder above, says what it finds and what it does not.
"""

from __future__ import annotations

from .device_memory import DeviceMemory
from .errors import PtxError
from .formats import bf16_to_float, float_to_bf16
from .launch import Pointer, launch, run
from .parser import Kernel, parse
from .scheduler import Order
from .shared_memory import Race
from .tensor_map import TensorMap

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
