"""From what blocks do to a time."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from . import chips
from .chips import Chip


@dataclass(frozen=True)
class Block:
    """What one block does; ``count`` blocks like it start one after the other."""

    count: int = 1
    tensor: float = 0.0
    """Operations on tensor cores."""
    exponentials: float = 0.0
    instructions: float = 0.0
    """Of warps: a block of eight that goes through 100 instructions issues 800."""
    l2_bytes: float = 0.0
    """What it reads through the L2 cache while it computes."""
    trips: int = 2
    """Loads that wait for each other before its loop, and its store."""


@dataclass(frozen=True)
class Kernel:
    """One launch."""

    name: str
    config: str
    precision: str
    threads: int
    registers: int
    """Of a thread."""
    shared: int
    """Bytes of a block."""
    bytes: float
    """What it has to read from device memory and to write there, each once."""
    blocks: tuple[Block, ...]

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return sum(block.count for block in self.blocks)


@dataclass(frozen=True)
class Timing:
    """What a launch takes on a chip; cycles are of one multiprocessor, the mean over all."""

    resident: int
    """Blocks that a multiprocessor holds at once."""
    waves: float
    tensor: float
    exponentials: float
    instructions: float
    seconds: float
    floor: float
    """No machine with these rates is faster: the busiest unit, never idle; or memory."""
    bound: str
    busy: float
    """The share of the time that multiprocessors have blocks, by the schedule."""


def resident(kernel: Kernel, chip: Chip) -> int:
    """Return how many blocks of a kernel a multiprocessor holds at once.

    Raises
    ------
    ValueError
        If it holds none: no such kernel is shipped.
    """
    warps = kernel.threads // 32
    registers = math.ceil(kernel.registers / chips.REGISTER_UNIT) * chips.REGISTER_UNIT * 32 * warps
    found = min(
        chips.REGISTERS // registers,
        chip.shared_bytes // (kernel.shared + chips.RESERVED_SHARED),
        chips.WARPS // warps,
        chips.BLOCKS,
    )
    if found < 1:
        raise ValueError(f"{kernel.name} {kernel.config} does not fit the {chip.name}")
    return found


def time_kernel(kernel: Kernel, chip: Chip) -> Timing:
    """Return what a kernel takes.

    Blocks start in their order, each where one has ended. Inside a block products and the work
    between them take turns, for its warps wait for each other at every turn of the loop; blocks on
    one multiprocessor do not wait for each other, and share its units.
    """
    most = resident(kernel, chip)
    together = max(1, min(most, math.ceil(kernel.count / chip.multiprocessors)))
    durations = [(block.count, _cycles(block, kernel, chip, together)) for block in kernel.blocks]
    cycles = schedule(durations, chip.multiprocessors * together)
    memory = kernel.bytes / chip.bandwidth
    computed = cycles / chip.clock
    per_block = [(block.count, _units(block, kernel, chip)) for block in kernel.blocks]
    sums = {
        name: sum(count * units[name] for count, units in per_block) / chip.multiprocessors
        for name in _NAMES
    }
    work = sum(count * duration for count, duration in durations)
    return Timing(
        resident=most,
        waves=kernel.count / (chip.multiprocessors * most),
        tensor=sums[_TENSOR],
        exponentials=sums[_EXP],
        instructions=sums[_ISSUE],
        seconds=max(computed, memory) + chips.LAUNCH,
        floor=max(max(sums.values()) / chip.clock, memory),
        bound=_bound(kernel, chip, together, computed, memory),
        busy=work / (cycles * chip.multiprocessors * together) if cycles else 0.0,
    )


def schedule(durations: Sequence[tuple[int, float]], slots: int) -> float:
    """Return when the last block ends, if each starts in the slot that is free first."""
    free = [0.0] * min(slots, sum(count for count, _ in durations))
    for count, duration in durations:
        whole, rest = divmod(count, len(free)) if len(set(free)) == 1 else (0, count)
        free = [start + whole * duration for start in free]
        for _ in range(rest):
            heapq.heapreplace(free, free[0] + duration)
    return max(free, default=0.0)


_TENSOR, _EXP, _ISSUE, _L2 = "tensor cores", "exponentials", "instructions", "L2 cache"
_NAMES = (_TENSOR, _EXP, _ISSUE, _L2)


def _units(block: Block, kernel: Kernel, chip: Chip) -> dict[str, float]:
    """Return the cycles for which a block alone keeps each unit of a multiprocessor busy."""
    return {
        _TENSOR: block.tensor / chip.tensor_rate(kernel.precision),
        _EXP: block.exponentials / chips.EXPONENTIALS,
        _ISSUE: block.instructions / chips.WARP_SCHEDULERS,
        _L2: block.l2_bytes / chip.l2_bytes,
    }


def _cycles(block: Block, kernel: Kernel, chip: Chip, together: int) -> float:
    units = _units(block, kernel, chip)
    serial = units[_TENSOR] + max(units[_EXP], units[_ISSUE])
    return block.trips * chip.latency + max(serial, together * max(units.values()))


def _bound(kernel: Kernel, chip: Chip, together: int, computed: float, memory: float) -> str:
    longest = max(kernel.blocks, key=lambda block: _cycles(block, kernel, chip, together))
    if max(computed, memory) < chips.LAUNCH:
        return "launch"
    if memory >= computed:
        return "memory"
    units = _units(longest, kernel, chip)
    name = max(_NAMES, key=units.__getitem__)
    serial = units[_TENSOR] + max(units[_EXP], units[_ISSUE])
    if longest.trips * chip.latency > max(serial, together * units[name]):
        return "latency"
    if serial > together * units[name]:
        other = _EXP if units[_EXP] > units[_ISSUE] else _ISSUE
        return f"{_TENSOR} and {other} in turns"
    return name
