"""Runs one block: converged threads at full width, parted ones in turns until they meet again.

Among parted threads those at the lowest instruction run first, up to where another group waits,
which brings branches together again; or those at the highest, which finds other faults. Barriers,
collectives and waits at mbarriers are rendezvous.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np

from .batches import Batches, groups_of
from .formats import Row
from .forms import Form, Forms
from .instructions import COLLECTIVES, compile_step
from .instructions.mbarrier import wait, wait_address
from .instructions.registry import unsupported
from .machine import Machine, Part, Shape
from .parser import Instruction
from .registers import Mask, Step, guarded, nothing

Kind = Literal["step", "branch", "return", "barrier", "collective", "wait"]
#: Which of the threads that parted run first: those at the first instruction, or at the last.
Order = Literal["first", "last"]
_ALL_LANES = np.uint32(0xFFFFFFFF)
_BARRIERS = 16
_WARPGROUP = 128


@dataclass(frozen=True)
class Barrier:
    """What a barrier instruction says."""

    number: Any  # of the barrier, 0 .. 15
    threads: Any  # how many it is for; None: all of the block
    waits: bool  # or only arrives
    one_place: bool  # whether all threads must be at this instruction


@dataclass
class Compiled:
    """An instruction as the scheduler sees it."""

    kind: Kind
    source: Instruction
    compile: Callable[[], Step]
    guard: Any = None  # a function that gives the predicate's row; None: always, or in the step
    target: int = 0  # of a branch
    table: Any = None  # of a branch by an index: a function from threads to their targets
    members: Any = None  # the lanes that a collective names; None: a whole warpgroup
    barrier: Barrier | None = None
    finish: Any = None  # of a wait: see `instructions.mbarrier.wait`
    places: Any = None  # a function that gives the mbarriers' addresses for waiting threads

    @cached_property
    def step(self) -> Step:
        """What it does; many are only executed together with others."""
        return self.compile()


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
        self._sound: set[Form] = set()  # whose instructions compile
        self.code = [self._compile(ins) for ins in machine.kernel.instructions]
        self._straight: dict[int, tuple[list[Step], int]] = {}
        # Where warps go different ways for long, each way has a machine of its own.
        waits = any(one.kind == "wait" for one in self.code)
        self._has_parts = waits and not machine.threads % 32 and not _copies(self.code)
        self._parts: dict[tuple[int, int], _Lines] = {}

    # ---- Compiling ----

    def _compile(self, ins: Instruction) -> Compiled:
        m = self.m
        guard = m.registers.predicate(ins.guard) if ins.guard else None
        if ins.name == "bra":
            target = m.kernel.labels.get(ins.args[0])
            if target is None:
                raise unsupported(ins)
            return Compiled("branch", ins, lambda: nothing, guard=guard, target=target)
        if ins.name == "brx":
            return Compiled("branch", ins, lambda: nothing, guard=guard, table=self._table(ins))
        if ins.name in ("ret", "exit"):
            return Compiled("return", ins, lambda: nothing, guard=guard)
        if ins.name == "call" and "vprintf" in ins.args:
            return Compiled("step", ins, lambda: nothing)
        if ins.name in ("trap", "call"):
            return Compiled("step", ins, lambda: guarded(guard, self._trap(ins)))
        if ins.name in ("bar", "barrier"):
            return self._barrier(ins, guard)
        if ins.name == "mbarrier" and ins.has("try_wait", "test_wait"):
            finish, places = wait(m, ins), wait_address(m, ins)
            return Compiled("wait", ins, lambda: nothing, guard=guard, finish=finish, places=places)
        if ins.name == "wgmma":
            if guard is not None:
                raise unsupported(ins, "wgmma with a guard")
            make = partial(compile_step, m, ins)
            return self._checked(Compiled("collective", ins, make))
        if ins.name not in COLLECTIVES:
            return self._checked(Compiled("step", ins, partial(self._compile_step, ins)))
        names_no_lanes = ins.name in ("mma", "ldmatrix", "stmatrix")
        members = _ALL_LANES if names_no_lanes else m.registers.source(ins.args[-1], "b32")
        make = partial(compile_step, m, ins)
        return self._checked(Compiled("collective", ins, make, guard=guard, members=members))

    def _compile_step(self, ins: Instruction) -> Step:
        guard = self.m.registers.predicate(ins.guard) if ins.guard else None
        return guarded(guard, compile_step(self.m, ins))

    def _checked(self, one: Compiled) -> Compiled:
        """Compile an instruction, unless another one of its form is known to compile."""
        form = self._forms.of(one.source).form
        if form not in self._sound:
            _ = one.step
            if form.together:
                self._sound.add(form)
        return one

    def _table(self, ins: Instruction) -> Callable[[Row], Row]:
        """Return the function from threads to where ``brx.idx`` brings them."""
        m = self.m
        index = m.registers.source(ins.args[0], "u32")
        labels = m.kernel.tables.get(ins.args[1], [])
        if not labels or not set(labels) <= set(m.kernel.labels):
            raise unsupported(ins)
        targets = np.array([m.kernel.labels[label] for label in labels])

        def find(threads: Row) -> Row:
            chosen = m.registers.spread(index)[threads]
            wrong = chosen >= len(targets)
            if wrong.any():
                thread = int(np.flatnonzero(threads)[int(np.argmax(wrong))])
                m.fail(f"a branch to target {chosen[wrong][0]} of {len(targets)}", ins, thread)
            return targets[chosen]

        return find

    def _trap(self, ins: Instruction) -> Step:
        what = "trap" if ins.name == "trap" else "unsupported call"
        if "__assertfail" in ins.args:
            what = "assertion failed"

        def step(where: Mask = True) -> None:
            self.m.fail(what, ins, int(self.m.lanes(where)[0]))

        return step

    def _barrier(self, ins: Instruction, guard: Any) -> Compiled:
        m = self.m
        if ins.has("warp"):

            def warps_meet(where: Mask = True) -> None:
                m.shared.warp_barriers(np.unique(m.warp[m.lanes(where)]))

            members = m.registers.source(ins.args[0], "b32")
            return Compiled("collective", ins, lambda: warps_meet, guard=guard, members=members)
        is_reduction = ins.has("red")
        if ins.has("cluster"):
            raise unsupported(ins, "a barrier of a cluster")
        operands = ins.args[1:-1] if is_reduction else ins.args
        number = m.registers.source(operands[0], "u32")
        threads = m.registers.source(operands[1], "u32") if len(operands) > 1 else None
        aligned = ins.name == "bar" or ins.has("aligned")
        barrier = Barrier(number, threads, not ins.has("arrive"), aligned and threads is None)
        if not is_reduction:
            return Compiled("barrier", ins, lambda: nothing, guard=guard, barrier=barrier)
        vote = m.registers.predicate(ins.args[-1])
        decisions: dict[str, Callable[[Row], Any]] = {"popc": np.sum, "and": np.all, "or": np.any}
        count = decisions[ins.op[-2]]
        result = m.registers.target(ins.args[0], ins.op[-1])

        def decide(where: Mask = True) -> None:
            voting = m.lanes(where)
            result[voting] = count(m.registers.spread(vote())[voting])

        return Compiled("barrier", ins, lambda: decide, guard=guard, barrier=barrier)

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
