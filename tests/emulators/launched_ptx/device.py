"""Launchers of the g++ harness whose kernels run as nvcc's PTX, in the interpreter.

The host code, compiled by g++, works out grids and arguments as it does on a GPU; the emulator
hands each launch to `PtxDevice`, which finds the kernel of that name in the PTX.
"""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..cuda_on_cpu.device import Device
from ..ptx_on_cpu.interpreter import DeviceMemory, Kernel, launch

_HOOK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_size_t, ctypes.POINTER(ctypes.c_uint), ctypes.POINTER(ctypes.c_uint),
    ctypes.c_size_t, ctypes.c_int, ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_size_t),
)  # fmt: skip


class PtxDevice(Device):
    """An emulated device on which kernels run as PTX; its memory has the interpreter's bounds.

    Parameters
    ----------
    emulator, library
        What the harness built: the emulator, and the library of the launchers and kernels.
    kernels
        The parsed PTX of the same files.
    capacity
        Bytes of device memory.
    """

    def __init__(
        self, emulator: Path, library: Path, kernels: Mapping[str, Kernel], capacity: int
    ) -> None:
        super().__init__(emulator)
        self.memory = DeviceMemory(buffer=super().empty(capacity, np.uint8))
        self._kernel_at = _kernels_by_offset(library, kernels)
        self._hook = _HOOK(self._run)  # kept, since the emulator does not own it
        self.error: BaseException | None = None
        self.ran: set[str] = set()

    def __enter__(self) -> PtxDevice:
        super().__enter__()
        self.runtime.cuda_on_cpu_set_hook(self._hook)
        return self

    def __exit__(self, *reason: Any) -> None:
        self.runtime.cuda_on_cpu_set_hook(None)
        super().__exit__(*reason)

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an array in the interpreter's memory, filled with NaN."""
        dtype = np.dtype(dtype)
        return self.memory.reserve(int(np.prod(shape)) * dtype.itemsize).view(dtype).reshape(shape)

    def check(self) -> None:
        """Raise what the interpreter, or the emulator, has found."""
        if self.error is not None:
            error, self.error = self.error, None
            self.runtime.cuda_on_cpu_take_message()  # only says that the hook failed
            raise error
        super().check()

    def _run(
        self, offset: int, grid: Any, block: Any, shared_bytes: int, count: int,
        addresses: Any, sizes: Any,
    ) -> int:  # fmt: skip
        """Run one launch; the hook. An exception cannot pass through C, so it is kept."""
        try:
            kernel = self._kernel_at[offset]
            arguments = [ctypes.string_at(addresses[i], sizes[i]) for i in range(count)]
            launch(kernel, self.memory, grid[:3], block[:3], shared_bytes, arguments)
            self.ran.add(kernel.name)
        except Exception as error:
            self.error = error
            return 1
        return 0


def _kernels_by_offset(library: Path, kernels: Mapping[str, Kernel]) -> dict[int, Kernel]:
    """Return the kernels by their address in the library, matched by their C++ names.

    Mangled names differ where they lie in unnamed namespaces.
    """
    named = dict(zip(_demangled(kernels), kernels.values(), strict=True))
    assert len(named) == len(kernels), "two kernels have one name"
    symbols = subprocess.run(
        ["nm", "--defined-only", "--demangle", str(library)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = {}
    for line in symbols.stdout.splitlines():
        fields = re.match(r"([0-9a-f]+) [A-Za-z] (.*)", line)
        if fields and fields[2] in named:
            found[int(fields[1], 16)] = named[fields[2]]
    return found


def _demangled(names: Iterable[str]) -> list[str]:
    done = subprocess.run(
        ["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()
