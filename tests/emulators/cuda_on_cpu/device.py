"""The emulated device as Python sees it. Needs numpy alone.

So a process in which a sanitizer's runtime is preloaded imports little.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

SCHEDULES = ("up", "down", "random")


class KernelFaultError(RuntimeError):
    """The emulator stopped a kernel, or refused to launch it."""


class Device:
    """Device memory, settings and errors of one ``libcuda_on_cpu.so``.

    A context manager: errors and mutations of earlier users are forgotten at its begin, and what
    was allocated inside is freed at its end.
    """

    def __init__(self, emulator: Path) -> None:
        self.runtime = ctypes.CDLL(str(emulator))
        self.runtime.cudaMalloc.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t]
        self.runtime.cudaFree.argtypes = [ctypes.c_void_p]
        self.runtime.cuda_on_cpu_configure.argtypes = [ctypes.c_int, ctypes.c_uint]
        self.runtime.cuda_on_cpu_take_message.restype = ctypes.c_char_p
        self.runtime.cuda_on_cpu_launches.restype = ctypes.c_ulonglong
        self.runtime.cuda_on_cpu_remove_barrier.argtypes = [ctypes.c_char_p, ctypes.c_int]
        self.runtime.cuda_on_cpu_barriers_reached.restype = ctypes.c_char_p
        self._addresses: list[int] = []

    def __enter__(self) -> Device:
        self.runtime.cudaGetLastError()
        self.runtime.cuda_on_cpu_take_message()
        self.remove_barrier()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._addresses:
            assert self.runtime.cudaFree(self._addresses.pop()) == 0

    @property
    def launches(self) -> int:
        """How many kernels have been launched in this process."""
        return int(self.runtime.cuda_on_cpu_launches())

    def configure(self, schedule: str, seed: int = 1) -> None:
        """Choose the order in which threads and blocks run; ``seed`` is that of ``"random"``."""
        self.runtime.cuda_on_cpu_configure(SCHEDULES.index(schedule), seed)

    def remove_barrier(self, file: str = "", line: int = 0) -> None:
        """Run as if the ``__syncthreads`` at a line (of a path that ends so) were not written.

        Without arguments every barrier is back. Forgets which barriers have been reached.
        """
        self.runtime.cuda_on_cpu_remove_barrier(file.encode(), line)

    def barriers_reached(self) -> set[tuple[str, int]]:
        """Return the name of the file and the line of every ``__syncthreads`` that was executed."""
        lines = self.runtime.cuda_on_cpu_barriers_reached().decode().splitlines()
        places = (line.rsplit(":", 1) for line in lines)
        return {(Path(file).name, int(line)) for file, line in places}

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an array in device memory, filled with NaN (all bits set).

        Its last byte is followed by a red zone. It is valid until the device is closed.
        """
        dtype = np.dtype(dtype)
        count = int(np.prod(shape))
        pointer = ctypes.c_void_p()
        assert self.runtime.cudaMalloc(ctypes.byref(pointer), count * dtype.itemsize) == 0
        assert pointer.value is not None
        self._addresses.append(pointer.value)
        buffer = (ctypes.c_char * (count * dtype.itemsize)).from_address(pointer.value)
        return np.frombuffer(buffer, dtype, count).reshape(shape)

    def array(self, values: Any, dtype: Any = None) -> np.ndarray:
        """Copy values into device memory."""
        host = np.ascontiguousarray(values, dtype)
        copy = self.empty(host.shape, host.dtype)
        copy[...] = host
        return copy

    def check(self) -> None:
        """Raise `KernelFaultError` if any launch since the last call has failed."""
        message = self.runtime.cuda_on_cpu_take_message().decode()
        if message:
            raise KernelFaultError(message)


def call(function: Any, *arguments: np.ndarray | int) -> None:
    """Call a C launcher: arrays by address, numbers as int."""
    function.restype = None
    function(
        *(
            ctypes.c_void_p(value.ctypes.data)
            if isinstance(value, np.ndarray)
            else ctypes.c_int(value)
            for value in arguments
        )
    )
