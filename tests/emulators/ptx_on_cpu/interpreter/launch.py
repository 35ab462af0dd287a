"""Launching a kernel: the grid, the arguments, arrays in and out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .device_memory import DeviceMemory
from .errors import PtxError
from .formats import NUMPY_TYPES
from .machine import Machine, Shape
from .parser import Kernel, parse
from .scheduler import Order, Scheduler
from .shared_memory import Race
from .tensor_map import TensorMap


@dataclass(frozen=True)
class Pointer:
    """An address inside of an array: that of its byte ``offset``."""

    array: np.ndarray
    offset: int = 0


#: An array is passed as the address of its first element and changed in place; bytes are a
#: structure.
Argument = np.ndarray | Pointer | TensorMap | int | float | bytes


def launch(
    kernel: Kernel,
    memory: DeviceMemory,
    grid: Sequence[int],
    block: Sequence[int],
    shared_bytes: int,
    arguments: Sequence[int | float | bytes | TensorMap],
    *,
    race: Race = "threads",
    order: Order = "first",
    step_limit: int = 50_000_000,
) -> int:
    """Run every block of a grid, one after the other; return how many instructions it took.

    Arguments are numbers, device addresses among them, the bytes of structures, or tensor maps
    whose base is an address. Of threads that parted, those at the first instruction in the text
    run before the others, or those at the last one, by ``order``. Raises `PtxError` at the first
    thing that hardware would not allow.
    """
    threads = int(np.prod(block))
    if kernel.required_threads not in (None, threads):
        raise PtxError(f"{kernel.name} needs {kernel.required_threads} threads; got {threads}")
    if len(arguments) != len(kernel.parameters):
        raise PtxError(
            f"{kernel.name} has {len(kernel.parameters)} parameters; got {len(arguments)} arguments"
        )
    stored = {
        name: _argument_bytes(kind, size, value)
        for (kind, name, size), value in zip(kernel.parameters, arguments, strict=True)
    }
    blocks = _three(grid)
    with np.errstate(all="ignore"):
        machine = Machine(kernel, memory, blocks, _three(block), shared_bytes, stored, race)
        scheduler = Scheduler(machine, step_limit, order)
        for z in range(blocks[2]):
            for y in range(blocks[1]):
                for x in range(blocks[0]):
                    scheduler.run_block((x, y, z))
    return scheduler.steps


def run(
    ptx: str | Kernel,
    name: str,
    grid: Sequence[int],
    block: Sequence[int],
    arguments: Sequence[Argument],
    *,
    shared_bytes: int = 0,
    race: Race = "threads",
    order: Order = "first",
) -> int:
    """Run a kernel on numpy arrays, which are changed in place; return the instructions it took.

    bfloat16 arrays are passed as uint16. Every array is an allocation of its own, however often it
    is passed; it must be contiguous.
    """
    kernel = parse(ptx)[name] if isinstance(ptx, str) else ptx
    given = [Pointer(value) if isinstance(value, np.ndarray) else value for value in arguments]
    bases = [value.base if isinstance(value, TensorMap) else value for value in given]
    pointers = [Pointer(base) if isinstance(base, np.ndarray) else base for base in bases]
    arrays = {_extent(base.array): base.array for base in pointers if isinstance(base, Pointer)}
    constants = sum(data.count * 8 + 512 for data in kernel.data)
    memory = DeviceMemory(DeviceMemory.capacity_for(list(arrays.values())) + constants)
    addresses = {extent: memory.put(array) for extent, array in arrays.items()}
    values: list[int | float | bytes | TensorMap] = []
    for value, pointer in zip(given, pointers, strict=True):
        place: int | float | bytes = (
            addresses[_extent(pointer.array)] + pointer.offset
            if isinstance(pointer, Pointer)
            else pointer
        )
        values.append(replace(value, base=place) if isinstance(value, TensorMap) else place)
    try:
        return launch(kernel, memory, grid, block, shared_bytes, values, race=race, order=order)
    finally:
        for extent, array in arrays.items():
            memory.get(addresses[extent], array)


def _extent(array: np.ndarray) -> tuple[int, int]:
    """Return where an array lies and how long it is; raises ``ValueError`` if it has gaps."""
    if not array.flags.c_contiguous:
        raise ValueError(
            f"an array of shape {array.shape} and strides {array.strides} is not contiguous; pass "
            f"a Pointer into the array that holds it"
        )
    return array.ctypes.data, array.nbytes


def _three(shape: Sequence[int]) -> Shape:
    x, y, z = (*shape, 1, 1, 1)[:3]
    return int(x), int(y), int(z)


def _argument_bytes(
    kind: str, size: int, value: int | float | bytes | TensorMap
) -> bytes | TensorMap:
    if isinstance(value, TensorMap):
        if size != 128:
            raise PtxError(f"a parameter of {size} bytes got a tensor map, which has 128")
        return value
    if isinstance(value, bytes):
        if len(value) != size:
            raise PtxError(f"a parameter of {size} bytes got {len(value)}")
        return value
    if kind[0] == "f":
        return bytes(NUMPY_TYPES[kind](value).tobytes())
    return (int(value) & ((1 << (8 * size)) - 1)).to_bytes(size, "little")
