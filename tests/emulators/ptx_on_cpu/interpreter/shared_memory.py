"""The shared memory of a block, with a detector of races between its threads."""

from __future__ import annotations

from typing import Literal

import numpy as np

from .formats import Row

#: Between whom races are looked for: all threads, threads of different warps, or nobody.
Race = Literal["threads", "warps", "off"]
_LANE_BITS = 6
_SEVERAL = 63  # "lane" of an access by more than one lane
_NEVER = np.int64(1 << 60)


class _Accesses:
    """The last access of one kind: for every warp and cell a stamp, its time and its lane."""

    def __init__(self, warps: int, cells: int) -> None:
        self._stamps = np.zeros((warps, cells), np.int64)
        self._latest = np.zeros(cells, np.int64)  # time of any warp's

    def note(self, cells: Row, warp: Row, lane: Row, now: Row) -> None:
        """Record accesses that happen at once."""
        stamps = self._stamps.reshape(-1)
        places = warp * self._stamps.shape[1] + cells
        begin = now << _LANE_BITS
        new, old = np.broadcast_to(begin | lane, places.shape), stamps[places]
        stamps[places] = new
        # By another lane since the last barrier, or by another lane of this very instruction.
        shared = ((old >= begin) & (old != new)) | (stamps[places] != new)
        if shared.any():
            several = np.broadcast_to(begin | _SEVERAL, places.shape)
            stamps[places[shared]] = several[shared]
        self._latest[cells] = now

    def by_others(self, cells: Row, warp: Row, lane: Row, own: Row, known: Row) -> Row | None:
        """Return where another thread's access is as late as ``own``, or ``known`` elsewhere.

        ``known`` (threads, warps) is from when on the accesses of each warp count for a thread.
        None if there is none, which nearly always is seen at a glance.
        """
        if int(self._latest[cells].max()) < min(int(known.min()), int(own.min())):
            return None
        mine = self._stamps[warp, cells]
        found = (mine >> _LANE_BITS >= own) & (mine & _SEVERAL != lane)
        warps = len(self._stamps)
        if warps > 1:
            elsewhere = self._stamps[:, cells] >> _LANE_BITS >= known[:, :warps].T[:, :, None]
            row, column = np.ogrid[: cells.shape[0], : cells.shape[1]]
            elsewhere[warp, row, column] = False
            found |= elsewhere.any(axis=0)
        return found


class SharedMemory:
    """Bytes that a block shares; unwritten ones are 0xff (NaN).

    The detector looks at cells of ``grain`` bytes, the smallest access of the kernel. It keeps, for
    every cell, the time and thread of the last write, and for every warp the time and lane of its
    last read and its last atomic operation. Time is counted in barriers and arrivals: ``_now[w]``
    is the time of warp w's accesses, and those of warp v before ``_known[w, v]`` are over for
    warp w, because a barrier of both, an mbarrier at which v arrived and w waited, or a chain of
    such lies between. Two accesses at one place race unless both only read, both are atomic, or
    the one is over for the other's warp. What some of a warp's lanes do counts for all of them.

    Bulk copies are written by one more warp, the last one, which is behind every thread until an
    mbarrier has been waited for.
    """

    def __init__(self, size: int, threads: int, race: Race, grain: int) -> None:
        self.size = size
        self.bytes = np.full(-(-size // 16) * 16, 0xFF, np.uint8)
        self.lane, self.warp = np.arange(threads) % 32, np.arange(threads) // 32
        warps, cells = -(-threads // 32), len(self.bytes) // grain
        self._grain = grain
        self._tracks = race != "off" and size > 0
        self._inside_warps = race != "warps"
        self._time = 1
        self._now = np.ones(warps, np.int64)
        self._known = np.ones((warps, warps + 1), np.int64)
        self._write_time = np.zeros(cells, np.int64)
        self._writer = np.zeros(cells, np.int64)
        self._reads, self._atomics = _Accesses(warps, cells), _Accesses(warps, cells)

    @property
    def tracks(self) -> bool:
        """Whether races are looked for."""
        return self._tracks

    def start_block(self) -> None:
        """Forget what another block left."""
        self.bytes.fill(0xFF)
        self.barrier()
        self._known[:] = self._time
        self._write_time[:] = 0

    def barrier(self, warps: Row | None = None, arriving: Row | None = None) -> None:
        """Take note of a barrier of the block, or of the given warps; others may only arrive."""
        self._time += 1
        if warps is None:
            self._known[:, :-1] = self._time
            self._known[:, -1] = self._known[:, -1].max()
            self._now[:] = self._time
            return
        both = warps if arriving is None else np.union1d(warps, arriving)
        known = self._known[both].max(axis=0)
        known[both] = self._time
        self._known[warps] = known
        self._now[both] = self._time

    def warp_barriers(self, warps: Row) -> None:
        """Take note of a barrier inside of each of the given warps."""
        self._time += 1
        self._known[warps, warps] = self._time
        self._now[warps] = self._time

    def arrival(self, warp: int) -> Row:
        """Take note of a warp's arrival at an mbarrier; return what is over for who waits there."""
        self._time += 1
        known = self._known[warp].copy()
        known[warp] = self._now[warp] = self._time
        return known

    def waited(self, warps: Row, known: Row) -> None:
        """Take note that warps have waited for arrivals of which this was returned."""
        self._known[warps] = np.maximum(self._known[warps], known)

    def read_race(self, offsets: Row, size: int, threads: Row) -> tuple[int, str] | None:
        """Take note of reads of ``size`` bytes; return the first thread that races, and how."""
        if not self._tracks:
            return None
        cells, warp, lane = self._places(offsets, size, threads)
        written = self._against_writes(cells, warp, threads, None)
        atomic = self._against(self._atomics, cells, warp, lane)
        self._reads.note(cells, warp, lane, self._now[warp])
        return self._first(written, cells, "read after write", by_writer=True) or self._first(
            atomic, cells, "read after an atomic operation"
        )

    def write_race(
        self, offsets: Row, size: int, threads: Row, new: Row | None
    ) -> tuple[int, str] | None:
        """Take note of writes; return the first thread that races, and how.

        ``new`` (threads, size) are the bytes to be written: two threads may write the same value.
        None for a copy whose bytes arrive later.
        """
        if not self._tracks:
            return None
        cells, warp, lane = self._places(offsets, size, threads)
        read = self._against(self._reads, cells, warp, lane)
        atomic = self._against(self._atomics, cells, warp, lane)
        race = self._first(read, cells, "write after read") or self._first(
            atomic, cells, "write after an atomic operation"
        )
        if race is None and new is not None:
            written = self._against_writes(cells, warp, threads, new)
            race = self._first(written, cells, "two writes", by_writer=True)
        self._write_time[cells], self._writer[cells] = self._now[warp], threads[:, None]
        return race

    def atomic_race(self, offsets: Row, size: int, threads: Row) -> tuple[int, str] | None:
        """Take note of atomic operations; return the first thread that races, and how."""
        if not self._tracks:
            return None
        cells, warp, lane = self._places(offsets, size, threads)
        written = self._against_writes(cells, warp, threads, None)
        read = self._against(self._reads, cells, warp, lane)
        self._atomics.note(cells, warp, lane, self._now[warp])
        return self._first(
            written, cells, "atomic operation after write", by_writer=True
        ) or self._first(read, cells, "atomic operation after read")

    def landed(self, offsets: Row, size: int, threads: Row) -> None:
        """Take note that the bytes of an asynchronous copy have arrived."""
        if self._tracks:
            cells, warp, _ = self._places(offsets, size, threads)
            self._write_time[cells], self._writer[cells] = self._now[warp], threads[:, None]

    def bulk_race(self, offsets: Row, size: int, threads: Row) -> tuple[int, str] | None:
        """Take note of a bulk copy that begins; return the first thread that races, and how."""
        if not self._tracks:
            return None
        race = self.write_race(offsets, size, threads, None)
        cells, _, _ = self._places(offsets, size, threads)
        self._write_time[cells], self._writer[cells] = _NEVER, 32 * len(self._now)
        return race

    def bulk_landed(self, offsets: Row, size: int) -> Row:
        """Take note that a bulk copy has arrived; return what is over for who waits for it."""
        self._time += 1
        if self._tracks:
            cells = (offsets // self._grain)[:, None] + np.arange(size // self._grain)
            self._write_time[cells] = self._time
        known = np.zeros(len(self._now) + 1, np.int64)
        self._time += 1
        known[-1] = self._time
        return known

    def _places(self, offsets: Row, size: int, threads: Row) -> tuple[Row, Row, Row]:
        cells = (offsets // self._grain)[:, None] + np.arange(size // self._grain)
        return cells, self.warp[threads][:, None], self.lane[threads][:, None]

    def _since(self, warp: Row) -> Row:
        """Return from when on accesses of the own warp's other lanes count."""
        return self._known[warp, warp] if self._inside_warps else np.full_like(warp, _NEVER)

    def _against(self, accesses: _Accesses, cells: Row, warp: Row, lane: Row) -> Row | None:
        return accesses.by_others(cells, warp, lane, self._since(warp), self._known[warp[:, 0]])

    def _against_writes(self, cells: Row, warp: Row, threads: Row, new: Row | None) -> Row | None:
        """Return which cells another thread has written since the last common barrier."""
        times = self._write_time[cells]
        if int(times.max()) < int(self._known[warp[:, 0]].min()):
            return None
        by = self._writer[cells]
        since = np.where(by >> 5 == warp, self._since(warp), self._known[warp, by >> 5])
        found = (times >= since) & (by != threads[:, None])
        if new is not None and found.any():
            there = self.bytes.reshape(-1, self._grain)[cells]
            found &= (there != new.reshape(there.shape)).any(axis=-1)
        return found

    def _first(
        self, found: Row | None, cells: Row, kind: str, *, by_writer: bool = False
    ) -> tuple[int, str] | None:
        if found is None or not found.any():
            return None
        i, j = np.unravel_index(int(np.argmax(found)), found.shape)
        cell = int(cells[i, j])
        thread = int(self._writer[cell])
        by = f"thread {thread}" if thread < len(self.lane) else "a bulk copy"
        writer = f", written by {by}" if by_writer else ""
        return int(i), (
            f"shared-memory race ({kind} without a barrier) at byte {self._grain * cell}{writer}"
        )
