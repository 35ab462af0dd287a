"""Device memory: allocations with exact bounds."""

from __future__ import annotations

import bisect

import numpy as np

from .errors import PtxError
from .formats import Row

#: Generic addresses below this one are shared memory, those from LOCAL_BASE a thread's own.
GLOBAL_BASE = 1 << 32
#: The addresses of parameters, which nothing but a tensor map is read through.
PARAMETER_BASE = 1 << 59
LOCAL_BASE = 1 << 60
_ALIGNMENT = 256


class DeviceMemory:
    """Bytes that a kernel may reach, as allocations of 256-byte alignment with gaps between them.

    Memory that nobody has written reads as 0xff bytes: NaN. Addresses begin at ``GLOBAL_BASE``, or
    are those of a ``buffer`` of the process itself, for kernels that are given its pointers.
    """

    def __init__(self, capacity: int = 0, buffer: np.ndarray | None = None) -> None:
        rounded = -(-capacity // _ALIGNMENT) * _ALIGNMENT
        self.bytes = np.empty(rounded, np.uint8) if buffer is None else buffer
        self.bytes.fill(0xFF)
        self.base = GLOBAL_BASE if buffer is None else int(buffer.ctypes.data)
        self._top = _ALIGNMENT
        self._starts: list[int] = []
        self._ends: list[int] = []

    @staticmethod
    def capacity_for(arrays: list[np.ndarray]) -> int:
        """Return a capacity in which copies of the arrays have room."""
        rounded = sum(-(-array.nbytes // _ALIGNMENT) * _ALIGNMENT for array in arrays)
        return rounded + _ALIGNMENT * (2 * len(arrays) + 2)

    def reserve(self, size: int) -> np.ndarray:
        """Return the bytes of a new allocation."""
        start = self._top
        if start + size > len(self.bytes):
            raise PtxError(f"device memory of {len(self.bytes)} bytes is full")
        self._starts.append(start)
        self._ends.append(start + size)
        self._top = (start + size + 2 * _ALIGNMENT - 1) & -_ALIGNMENT
        return self.bytes[start : start + size]

    def put(self, array: np.ndarray) -> int:
        """Copy an array in; return its device address."""
        array = np.ascontiguousarray(array)
        start = self._top
        self.reserve(array.nbytes)[...] = array.reshape(-1).view(np.uint8)
        return self.base + start

    def get(self, address: int, out: np.ndarray) -> None:
        """Copy what lies at an address into an array."""
        start = address - self.base
        stored = self.bytes[start : start + out.nbytes].view(out.dtype)
        out[...] = stored.reshape(out.shape)

    def problem(self, offsets: Row, size: int) -> tuple[int, str] | None:
        """Return the first access ``offsets[i] .. + size`` outside every allocation, and why."""
        if not self._starts:
            return 0, "no allocation"
        first = bisect.bisect_right(self._starts, int(offsets.min())) - 1
        if first >= 0 and int(offsets.max()) + size <= self._ends[first]:
            return None
        starts, ends = np.array(self._starts), np.array(self._ends)
        owner = np.searchsorted(starts, offsets, "right") - 1
        wrong = (owner < 0) | (offsets + size > ends[owner])
        if not wrong.any():
            return None
        i = int(np.argmax(wrong))
        j = max(int(owner[i]), 0)
        byte, length = int(offsets[i]) - starts[j], ends[j] - starts[j]
        return i, f"byte {byte} of allocation {j}, which has {length} bytes"
