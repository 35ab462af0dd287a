"""mbarriers: phases that threads' arrivals and the bytes of bulk copies complete."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .errors import PtxError
from .formats import Row
from .parser import Instruction
from .shared_memory import SharedMemory

_MOST_ARRIVALS = (1 << 20) - 1


@dataclass
class MBarrier:
    """One mbarrier object."""

    count: int  # arrivals that complete a phase
    pending: int
    known: Row  # what is over for who waits for the current phase
    phase: int = 0
    bytes_expected: int = 0
    known_before: Row = field(default_factory=lambda: np.zeros(1, np.int64))  # the last phase's

    def is_over(self, parity: int) -> bool:
        """Return whether the phase of this parity, the current or the last one, is complete."""
        return self.phase & 1 != parity & 1


@dataclass
class BulkCopy:
    """A bulk copy on its way."""

    barrier: int  # the address of its mbarrier
    offsets: Row  # of its 16-byte pieces in shared memory
    data: Row  # (pieces, 16)
    source: Instruction
    thread: int


class MBarriers:
    """The mbarriers of a block by address, and the bulk copies that they wait for."""

    def __init__(self, shared: SharedMemory) -> None:
        self._shared = shared
        self._all: dict[int, MBarrier] = {}
        self.copies: list[BulkCopy] = []
        self.has_news = False  # whether a phase was completed since somebody looked

    def start_block(self) -> None:
        """Forget what another block left."""
        self._all.clear()
        self.copies.clear()
        self.has_news = False

    def at(self, address: int) -> MBarrier:
        """Return the mbarrier at an address."""
        found = self._all.get(address)
        if found is None:
            raise PtxError(f"no mbarrier was initialised at byte {address}")
        return found

    def start(self, address: int, count: int) -> None:
        """Initialise an mbarrier."""
        if not 1 <= count <= _MOST_ARRIVALS:
            raise PtxError(f"an mbarrier of {count} arrivals")
        self._all[address] = MBarrier(count, count, np.zeros(1, np.int64))

    def end(self, address: int) -> None:
        """Invalidate an mbarrier."""
        self.at(address)
        if any(copy.barrier == address for copy in self.copies):
            raise PtxError("a bulk copy is on its way to an mbarrier that is invalidated")
        del self._all[address]

    def expect(self, address: int, size: int) -> None:
        """Expect more bytes in the current phase."""
        self.at(address).bytes_expected += size

    def arrive(self, address: int, count: int, warp: int) -> int:
        """Take note of arrivals; return the phase that they belong to."""
        barrier = self.at(address)
        phase = barrier.phase
        if not 1 <= count <= barrier.pending:
            raise PtxError(
                f"{count} arrivals at an mbarrier at byte {address} that waits for "
                f"{barrier.pending} of {barrier.count}"
            )
        barrier.known = np.maximum(barrier.known, self._shared.arrival(warp))
        barrier.pending -= count
        self._complete(barrier)
        return phase

    def land(self, address: int) -> None:
        """Let all copies that belong to an mbarrier arrive."""
        landing = [copy for copy in self.copies if copy.barrier == address]
        self.copies = [copy for copy in self.copies if copy.barrier != address]
        barrier = self.at(address)
        for copy in landing:
            self._shared.bytes[copy.offsets[:, None] + np.arange(16)] = copy.data
            known = self._shared.bulk_landed(copy.offsets, 16)
            barrier.known = np.maximum(barrier.known, known)
            barrier.bytes_expected -= copy.data.size
        self._complete(barrier)

    def _complete(self, barrier: MBarrier) -> None:
        if barrier.pending == 0 and barrier.bytes_expected == 0:
            barrier.phase += 1
            barrier.pending = barrier.count
            barrier.known_before, barrier.known = barrier.known, np.zeros(1, np.int64)
            self.has_news = True
