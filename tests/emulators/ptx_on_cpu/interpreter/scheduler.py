"""Runs one block: converged threads at full width, parted ones in turns until they meet again.

Among parted threads those at the lowest instruction run first, up to where another group waits,
which brings branches together again; or those at the highest, which finds other faults. Barriers,
collectives and waits at mbarriers are rendezvous.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np

from .batches import Batches, groups_of
from .code import Compiled, Reader
from .formats import Row
from .forms import Forms
from .instructions import compile_step
from .machine import Machine, Part, Shape
from .registers import Step, guarded, nothing

#: Which of the threads that parted run first: those at the first instruction, or at the last.
Order = Literal["first", "last"]
_BARRIERS = 16
_WARPGROUP = 128


class Scheduler:
    """The control flow of one kernel on one `Machine`."""

    def __init__(self, machine: Machine, step_limit: int, order: Order = "first") -> None:
        self.m = machine
        self.step_limit = step_limit
        if order not in ("first", "last"):
            raise ValueError(f"order is 'first' or 'last', not {order!r}")
        self.order = order
        self.steps = 0
        self._forms, self._batches = Forms(machine.kernel), Batches(machine)
        self.code = Reader(machine, self._forms).read()
        self._straight: dict[int, tuple[list[Step], int]] = {}
        # Where warps go different ways for long, each way has a machine of its own.
        waits = any(one.kind == "wait" for one in self.code)
        self._has_parts = waits and not machine.threads % 32 and not _copies(self.code)
        self._parts: dict[tuple[int, int], _Lines] = {}

    # ---- Straight lines ----

    def _straight_line(self, i: int) -> tuple[list[Step], int]:
        """Return the steps from i to the next control instruction, all lanes acting, and its i."""
        if i not in self._straight:
            end = self._end_of(i)
            operands = [self._forms.of(one.source) for one in self.code[i:end]]
            steps = []
            for group in groups_of(operands):
                if len(group) > 1:
                    members = [self.code[i + k].source for k in group]
                    steps.append(self._batches.compile([operands[k] for k in group], members))
                elif (step := self.code[i + group[0]].step) is not nothing:
                    steps.append(step)
            self._straight[i] = steps, end
        return self._straight[i]

    def _end_of(self, i: int) -> int:
        """Return where the straight line from i ends."""
        end = i
        while end < len(self.code) and self._is_straight(self.code[end]):
            end += 1
        return end

    def _is_straight(self, one: Compiled) -> bool:
        """Return whether an instruction is a step, or a collective of whole warps."""
        return one.kind == "step" or (
            one.kind == "collective"
            and one.guard is None
            and one.members is not None
            and np.ndim(one.members) == 0
            and int(one.members) == 0xFFFFFFFF
            and self.m.threads % 32 == 0
        )

    def _lines(self, here: Row) -> _Lines | None:
        """Return straight lines for a run of whole warps; None: they go step by step."""
        if not self._has_parts:
            return None
        threads = np.flatnonzero(here)
        first, last = int(threads[0]), int(threads[-1]) + 1
        if first % 32 or last % 32 or len(threads) != last - first:
            return None
        found = self._parts.get((first, last))
        if found is None:
            found = self._parts[first, last] = _Lines(self, first, last)
        return found

    # ---- Running ----

    def run_block(self, index: Shape) -> None:
        """Execute one block to its end."""
        m = self.m
        m.start_block(index)
        self.at = np.zeros(m.threads, np.int64)  # the next instruction of each thread
        self.done, self.at_barrier, self.at_collective, self.at_wait = np.zeros(
            (4, m.threads), bool
        )
        self.number = np.zeros(m.threads, np.int64)  # of the barrier where a thread waits
        self.arrived = np.zeros((_BARRIERS, m.threads), bool)  # without waiting
        self.wanted = np.zeros(_BARRIERS, np.int64)  # threads of a barrier; 0: nobody is there
        while not self.done.all():
            if m.mbarriers.has_news:
                self._finish_waits()
            running = ~(self.done | self.at_barrier | self.at_collective | self.at_wait)
            if not running.any():
                self._rendezvous()
                continue
            i = int(self.at[running].min() if self.order == "first" else self.at[running].max())
            here = running & (self.at == i)
            if here.all():
                self._run_converged(i)
            else:
                self._run_masked(i, here, running)
            if self.steps > self.step_limit:
                m.fail(f"step limit: {self.steps} instructions and no end", self.code[i].source)
        for copy in m.mbarriers.copies:
            m.fail("the block ended before a bulk copy had landed", copy.source, copy.thread)

    def _rendezvous(self) -> None:
        """Nobody can run: complete a collective, land a bulk copy, or report a deadlock."""
        m = self.m
        places = np.unique(self.at[self.at_collective])
        completed = [self._complete_collective(int(i)) for i in places]
        if any(completed) or self._land():
            return
        # A test that must not wait says no once nobody else can run.
        if any(self.code[i].source.op[1] == "test_wait" for i in self.at[self.at_wait].tolist()):
            self._finish_waits(gives_up=True)
            return
        whole = self.at_barrier & (self.wanted[self.number] == m.threads)
        if not (whole | self.done).all() or len(np.unique(self.number[whole])) > 1:
            waiting = self.at[~self.done]
            where = "; ".join(
                f"{int((waiting == i).sum())} threads at {self.code[i].source}"
                for i in np.unique(waiting)
            )
            m.fail("deadlock", where)
        left = int(self.done.sum())
        m.fail(
            f"barrier after {left} threads of the block returned",
            self.code[int(self.at[whole].min())].source,
        )

    # ---- Barriers ----

    def _arrive(self, i: int, acting: Row) -> None:
        """Threads have come to the barrier at i: wait there, or only arrive."""
        one, m = self.code[i], self.m
        barrier = one.barrier
        assert barrier is not None
        numbers = m.registers.spread(barrier.number)
        threads = m.registers.spread(m.threads if barrier.threads is None else barrier.threads)
        for number in np.unique(numbers[acting]).tolist():
            own = acting & (numbers == number)
            if number >= _BARRIERS:
                m.fail(f"barrier {number} of {_BARRIERS}", one.source)
            wanted = int(threads[own][0])
            if wanted % 32 and wanted != m.threads:
                m.fail(f"a barrier of {wanted} threads, not whole warps", one.source)
            if self.wanted[number] not in (0, wanted):
                m.fail(
                    f"barrier {number} of {wanted} threads, where others wait for "
                    f"{self.wanted[number]}", one.source,
                )  # fmt: skip
            if (own & self.arrived[number]).any():
                m.fail(f"a thread arrives twice at barrier {number}", one.source)
            self.wanted[number] = wanted
            if barrier.waits:
                self.number[own] = number
                self.at_barrier |= own
            else:
                self.arrived[number] |= own
                self.at[own] = i + 1
            self._complete_barrier(number)

    def _complete_barrier(self, number: int) -> None:
        """Let the threads of a barrier go on if all have come."""
        m = self.m
        waiting = self.at_barrier & (self.number == number)
        come = int(waiting.sum() + self.arrived[number].sum())
        places = np.unique(self.at[waiting]).tolist()
        wanted = int(self.wanted[number])
        if come < wanted:
            return
        if come > wanted:
            m.fail(f"{come} threads at barrier {number} of {wanted}", self.code[places[0]].source)
        if len(places) > 1 and any(self._wants_one_place(i) for i in places):
            where = " and ".join(str(self.code[i].source) for i in places)
            m.fail("divergent barrier", where)
        for i in places:
            self.code[i].step(where=waiting & (self.at == i))
        if waiting.all():
            m.shared.barrier()
        else:
            warps = np.unique(m.warp[waiting])
            m.shared.barrier(warps, np.unique(m.warp[self.arrived[number]]))
        self.at[waiting] += 1
        self.at_barrier[waiting] = False
        self.arrived[number] = False
        self.wanted[number] = 0

    def _is_for_all(self, one: Compiled, taken: Row | None) -> bool:
        """Return whether all threads, who are at a barrier together, may go on at once."""
        barrier = one.barrier
        if barrier is None or barrier.threads is not None or not barrier.waits:
            return False
        return (taken is None or bool(taken.all())) and not self.wanted.any()

    def _wants_one_place(self, i: int) -> bool:
        barrier = self.code[i].barrier
        return barrier is not None and barrier.one_place

    # ---- Waits at mbarriers ----

    def _finish_waits(self, *, gives_up: bool = False) -> None:
        """Let threads go on whose phase is complete, or tests that must not wait for it."""
        self.m.mbarriers.has_news = False
        for i in np.unique(self.at[self.at_wait]).tolist():
            one = self.code[i]
            threads = np.flatnonzero(self.at_wait & (self.at == i))
            done = one.finish(threads, gives_up and one.source.op[1] == "test_wait")
            self.at_wait[threads[done]] = False
            self.at[threads[done]] += 1

    def _land(self) -> bool:
        """Land the bulk copies of one mbarrier where threads wait; return whether there are any."""
        copies = self.m.mbarriers.copies
        if not copies:
            return False
        awaited: set[int] = set()
        for i in np.unique(self.at[self.at_wait]).tolist():
            threads = np.flatnonzero(self.at_wait & (self.at == i))
            awaited.update(self.code[i].places(threads).tolist())
        landing = [copy.barrier for copy in copies if copy.barrier in awaited]
        if not landing:
            return False
        address = landing[0] if self.order == "first" else landing[-1]
        self.m.mbarriers.land(address)
        return True

    # ---- Steps ----

    def _run_converged(self, i: int) -> None:
        """All threads are at i: run until they part."""
        while self.steps <= self.step_limit:
            steps, end = self._straight_line(i)
            for step in steps:
                step()
            self.steps += end - i + 1
            i = end
            if i >= len(self.code):  # a body that ends without ret
                self.done[:] = True
                return
            one = self.code[i]
            taken = None if one.guard is None else self.m.registers.spread(one.guard())
            if taken is not None and not taken.any():
                i += 1
            elif one.kind == "barrier" and self._is_for_all(one, taken):
                one.step()
                self.m.shared.barrier()
                i += 1
            elif (
                (taken is not None and not taken.all())
                or one.kind in ("collective", "wait", "barrier")
                or one.table is not None
            ):
                self.at[:] = i
                everyone = np.ones(self.m.threads, bool)
                self._run_masked(i, everyone, everyone)
                return
            elif one.kind == "branch":
                i = one.target
            else:
                self.done[:] = True
                return
        self.at[:] = i

    def _run_masked(self, i: int, here: Row, running: Row) -> None:
        """Run the threads ``here``, at i, to a control instruction or another group's place."""
        others = self.at[running & ~here & (self.at > i)]
        stop = int(others.min()) if len(others) else len(self.code) + 1
        lines = self._lines(here)
        while i < stop:
            if lines is not None:
                steps, end = lines.at(i, stop)
                if end > i:
                    for step in steps:
                        step()
                    self.steps += end - i
                    i = end
                    continue
            self.steps += 1
            if i >= len(self.code):
                self.done |= here
                return
            one = self.code[i]
            if one.kind == "step":
                one.step(where=here)
                i += 1
                continue
            acting = here if one.guard is None else here & one.guard()
            self.at[here & ~acting] = i + 1
            self.at[acting] = i
            if one.kind == "branch":
                self.at[acting] = one.target if one.table is None else one.table(acting)
            elif one.kind == "return":
                self.done |= acting
            elif one.kind == "barrier":
                self._arrive(i, acting)
            elif one.kind == "wait":
                self.at_wait |= acting
                self.m.mbarriers.has_news = True
            else:
                self.at_collective |= acting
                self._complete_collective(i)
            return
        self.at[here] = i

    def _complete_collective(self, i: int) -> bool:
        """Run the collective at i for every warp whose named lanes have all arrived."""
        one, m = self.code[i], self.m
        if one.members is None:
            return self._complete_warpgroup(i)
        moved = False
        waiting = np.flatnonzero(self.at_collective & (self.at == i))
        for warp in np.unique(m.warp[waiting]):
            own = waiting[m.warp[waiting] == warp]
            named = m.registers.spread(one.members)[own]
            for members in np.unique(named):
                arrived = own[named == members]
                expected = [
                    lane
                    for lane in range(32)
                    if int(members) >> lane & 1
                    and warp * 32 + lane < m.threads
                    and not self.done[warp * 32 + lane]
                ]
                lanes = m.lane[arrived].tolist()
                if not set(lanes) <= set(expected):
                    m.fail(f"a lane is not in its own mask {int(members):08x}", one.source)
                if lanes == expected:
                    acting = np.zeros(m.threads, bool)
                    acting[arrived] = True
                    one.step(where=acting)
                    self.at_collective[arrived] = False
                    self.at[arrived] += 1
                    moved = True
        return moved

    def _complete_warpgroup(self, i: int) -> bool:
        """Run the instruction at i for every warpgroup that has arrived with all of its threads."""
        waiting = self.at_collective & (self.at == i)
        whole = waiting.reshape(-1, _WARPGROUP).all(axis=1)
        if not whole.any():
            return False
        acting = np.repeat(whole, _WARPGROUP)
        self.code[i].step(where=acting)
        self.at_collective[acting] = False
        self.at[acting] += 1
        return True


class _Lines:
    """Straight-line code of some of a block's warps, which run it on a machine of their own."""

    def __init__(self, scheduler: Scheduler, first: int, last: int) -> None:
        self._scheduler = scheduler
        self._machine = Part(scheduler.m, first, last)
        self._batches = Batches(self._machine)
        self._known: dict[int, tuple[list[Step], int]] = {}

    def at(self, i: int, stop: int) -> tuple[list[Step], int]:
        """Return the steps of the line from i, and where it ends; none if it goes beyond stop."""
        found = self._known.get(i)
        if found is None:
            found = self._known[i] = [], self._scheduler._end_of(i)
        steps, end = found
        if end > stop or end == i:
            return [], i
        if not steps:
            steps.extend(self._compile(i, end))
            steps.append(nothing)  # compiled, even if nothing has to be done
        return steps, end

    def _compile(self, i: int, end: int) -> list[Step]:
        scheduler, m = self._scheduler, self._machine
        code = scheduler.code[i:end]
        operands = [scheduler._forms.of(one.source) for one in code]
        steps = []
        for group in groups_of(operands):
            members = [code[k].source for k in group]
            if len(group) > 1:
                steps.append(self._batches.compile([operands[k] for k in group], members))
                continue
            (ins,) = members
            if ins.name in ("trap", "call", "bar", "barrier"):
                step = code[group[0]].step
                steps.append(partial(step, where=m.mask))
            elif code[group[0]].step is not nothing:
                guard = m.registers.predicate(ins.guard) if ins.guard else None
                steps.append(guarded(guard, compile_step(m, ins)))
        return steps


def _copies(code: list[Compiled]) -> bool:
    """Return whether there are copies whose groups are those of single threads (cp.async)."""
    return any(one.source.name == "cp" and not one.source.has("bulk") for one in code)
