"""One kernel compiled for one block shape: what instructions are compiled against.

A *row* holds one value of every thread. An instruction becomes a *step*, a function that acts on
rows of all threads at once, or of those in a mask.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from .device_memory import GLOBAL_BASE, LOCAL_BASE, PARAMETER_BASE, DeviceMemory
from .errors import PtxError
from .formats import NUMPY_TYPES, UNSIGNED, Row, bits
from .mbarriers import MBarriers
from .parser import Data, Instruction, Kernel
from .registers import Mask, Registers, vector
from .shared_memory import Race, SharedMemory
from .tensor_map import TensorMap

_ADDRESS = re.compile(r"\[\s*([^+\s\]]+)\s*(?:\+\s*(-?\w+))?\s*\]")
Shape = tuple[int, int, int]


@dataclass
class Copy:
    """A cp.async on its way."""

    threads: Row
    offsets: Row
    data: Row  # (threads, bytes)
    group: Row  # of each thread: how many groups it had committed before


class Machine:
    """Registers and memory of a block, and the access rules of every state space."""

    def __init__(
        self,
        kernel: Kernel,
        memory: DeviceMemory,
        grid: Shape,
        block: Shape,
        dynamic_shared: int,
        arguments: Mapping[str, bytes | TensorMap],
        race: Race,
    ) -> None:
        self.kernel = kernel
        self.memory = memory
        self.arguments = {
            name: value if isinstance(value, bytes) else b"\xff" * 128
            for name, value in arguments.items()
        }
        self.threads = block[0] * block[1] * block[2]
        self.lane, self.warp = np.arange(self.threads) % 32, np.arange(self.threads) // 32
        self.warps = -(-self.threads // 32)
        self.registers = Registers(kernel, block, grid, dynamic_shared)
        self.shared = SharedMemory(
            kernel.shared_bytes + dynamic_shared, self.threads, race, _shared_grain(kernel)
        )
        self.mbarriers = MBarriers(self.shared)
        self.warpgroups: Any = None  # what wgmma keeps: products on their way
        # A tensor map is known by the address of its parameter.
        self.tensor_maps: dict[int, TensorMap] = {}
        for i, (name, value) in enumerate(arguments.items()):
            address = self.registers.symbols[name] = PARAMETER_BASE + 4096 * i
            if isinstance(value, TensorMap):
                self.tensor_maps[address] = value
        self._local = np.full((self.threads, max(kernel.local_bytes, 16)), 0xFF, np.uint8)
        self.copies: list[Copy] = []
        self.groups = np.zeros(self.threads, np.int64)
        text = "\n".join(instruction.text for instruction in kernel.instructions)
        for data in kernel.data:
            if re.search(rf"(?<![\w$]){re.escape(data.name)}(?![\w$])", text):
                self.registers.symbols[data.name] = memory.put(self._initial(data))

    def _initial(self, data: Data) -> Row:
        width = bits(data.kind)
        values = np.zeros(data.count, UNSIGNED[width])
        for i, value in enumerate(data.values):
            values[i] = self.registers.immediate(value, f"u{width}")
        return values

    def start_block(self, index: Shape) -> None:
        """Bring everything that a block owns to its first state."""
        self.registers.start_block(index)
        self.shared.start_block()
        self._local.fill(0xFF)
        self.copies = []
        self.groups[:] = 0
        self.mbarriers.start_block()
        self.warpgroups = None

    # ---- Errors ----

    def fail(self, message: str, at: object, thread: int | None = None) -> NoReturn:
        """Raise `PtxError` with the place and, where it is known, the thread."""
        block = [int(self.registers.special[f"%ctaid.{axis}"][0]) for axis in "xyz"]
        who = "" if thread is None else f"thread {thread}, "
        raise PtxError(f"{message} [{who}block {block}]: {at}")

    # ---- Memory access ----

    def lanes(self, where: Mask) -> Row:
        """Return the indices of the threads in a mask."""
        return np.arange(self.threads) if where is True else np.flatnonzero(where)

    def address(self, operand: str) -> Callable[[], Row]:
        """Return a function that gives the int64 byte addresses of all threads."""
        found = _ADDRESS.match(operand)
        if found is None:
            raise PtxError(f"{operand} is no address")
        offset = int(found[2], 0) if found[2] else 0
        row = self.registers.rows.get(found[1])
        if row is None:
            base = int(self.registers.immediate(found[1], "u64"))
            constant = np.full(self.threads, base + offset, np.int64)
            return lambda: constant
        if row.itemsize == 4:  # a shared address wraps at 32 bits
            narrow, wrapped = row, np.uint32(offset & 0xFFFFFFFF)
            return lambda: (narrow + wrapped).astype(np.int64)
        wide = row.view(np.int64)
        return lambda: wide + offset

    def place(
        self, addresses: Row, size: int, space: str, threads: Row, at: Instruction
    ) -> tuple[Row, Row]:
        """Check accesses of ``size`` bytes; return the bytes of their space and the offsets."""
        if (addresses & (size - 1)).any():
            first = int(np.argmax((addresses & (size - 1)) != 0))
            self.fail(f"misaligned {size}-byte access", at, int(threads[first]))
        if space == "":
            lowest = int(addresses.min())
            space = "global" if lowest >= GLOBAL_BASE else "shared"
            if lowest >= LOCAL_BASE:
                space, addresses = "local", addresses - LOCAL_BASE
        if space == "shared":
            self._check_range("shared", addresses, size, self.shared.size, threads, at)
            return self.shared.bytes, addresses
        if space == "local":
            self._check_range("local", addresses, size, self.kernel.local_bytes, threads, at)
            return self._local.reshape(-1), addresses + threads * self._local.shape[1]
        return self.memory.bytes, self.global_offsets(addresses, size, threads, at)

    def global_offsets(self, addresses: Row, size: int, threads: Row, at: Instruction) -> Row:
        """Check that each access lies in one allocation; return the offsets."""
        offsets = addresses - self.memory.base
        problem = self.memory.problem(offsets, size)
        if problem:
            index, why = problem
            self.fail(f"global access out of bounds at {why}", at, int(threads[index]))
        return offsets

    def _check_range(
        self, space: str, offsets: Row, size: int, limit: int, threads: Row, at: Instruction
    ) -> None:
        if int(offsets.min()) >= 0 and int(offsets.max()) + size <= limit:
            return
        first = int(np.argmax((offsets < 0) | (offsets + size > limit)))
        self.fail(
            f"{space} access out of bounds at byte {int(offsets[first])} of {limit}",
            at,
            int(threads[first]),
        )

    def check_read(self, offsets: Row, size: int, threads: Row, at: Instruction) -> None:
        """Fail if a read of shared memory races."""
        race = self.shared.read_race(offsets, size, threads)
        if race:
            self.fail(race[1], at, int(threads[race[0]]))

    def check_write(
        self, offsets: Row, size: int, threads: Row, new: Row | None, at: Instruction
    ) -> None:
        """Fail if a write to shared memory races."""
        race = self.shared.write_race(offsets, size, threads, new)
        if race:
            self.fail(race[1], at, int(threads[race[0]]))

    def check_atomic(self, offsets: Row, size: int, threads: Row, at: Instruction) -> None:
        """Fail if an atomic operation on shared memory races with a plain access."""
        race = self.shared.atomic_race(offsets, size, threads)
        if race:
            self.fail(race[1], at, int(threads[race[0]]))

    def number(self, thread: Any) -> Any:
        """Return the numbers of threads in their block."""
        return thread

    # ---- Groups of lanes ----

    def per_warp(self, name: str, kind: str, function: Callable[[Row], Any]) -> Any:
        """Return the step that gives every warp's acting threads ``function(threads)``."""
        target = self.registers.target(name, kind)

        def step(where: Mask = True) -> None:
            threads = self.lanes(where)
            for warp in np.unique(self.warp[threads]):
                own = threads[self.warp[threads] == warp]
                target[own] = function(own)

        return step

    def lane_mask(self, threads: Row) -> int:
        """Return the bits of the threads' lanes."""
        return sum(1 << int(lane) for lane in self.lane[threads])


class Part(Machine):
    """Some of a block's warps, with the registers and the memory of the whole block's machine."""

    def __init__(self, whole: Machine, first: int, last: int) -> None:
        self._whole, self._first = whole, first
        self.kernel, self.memory, self.shared = whole.kernel, whole.memory, whole.shared
        self.arguments, self.tensor_maps = whole.arguments, whole.tensor_maps
        self.mbarriers = whole.mbarriers
        self.threads = last - first
        self.lane, self.warp = np.arange(self.threads) % 32, np.arange(self.threads) // 32
        self.warps = self.threads // 32
        self.registers = whole.registers.part(first, last)
        self.mask = np.zeros(whole.threads, bool)
        self.mask[first:last] = True
        self._local = whole._local[first:last]

    def fail(self, message: str, at: object, thread: int | None = None) -> NoReturn:
        self._whole.fail(message, at, None if thread is None else self.number(thread))

    def number(self, thread: Any) -> Any:
        return thread + self._first

    def check_read(self, offsets: Row, size: int, threads: Row, at: Instruction) -> None:
        self._whole.check_read(offsets, size, threads + self._first, at)

    def check_write(
        self, offsets: Row, size: int, threads: Row, new: Row | None, at: Instruction
    ) -> None:
        self._whole.check_write(offsets, size, threads + self._first, new, at)

    def check_atomic(self, offsets: Row, size: int, threads: Row, at: Instruction) -> None:
        self._whole.check_atomic(offsets, size, threads + self._first, at)


def space_of(instruction: Instruction) -> str:
    """Return the state space that the modifiers name, "" for a generic address."""
    for part in instruction.op:
        stem = part.partition("::")[0]
        if stem in ("shared", "global", "local", "param"):
            return stem
        if stem == "const":
            return "global"
    return ""


def _shared_grain(kernel: Kernel) -> int:
    """Return the smallest number of bytes that an access to shared memory may have."""
    sizes = [16]
    for ins in kernel.instructions:
        kind = ins.op[-1]
        if space_of(ins) not in ("shared", ""):
            continue
        if ins.name == "cp" and ins.has("ca", "cg"):
            sizes.append(int(ins.args[2], 0))
        elif ins.name in ("ld", "st", "atom", "red") and kind in NUMPY_TYPES:
            values = ins.args[ins.name == "st"] if ins.name in ("ld", "st") else ""
            sizes.append(bits(kind) // 8 * len(vector(values)))
    return min(sizes)
