"""Runs one block: converged threads at full width, parted ones in turns until they meet again.

Among parted threads those at the lowest instruction run first, up to where another group waits,
which brings branches together again. Barriers and collectives are rendezvous.
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
from .instructions.registry import unsupported
from .machine import Machine, Shape
from .parser import Instruction
from .registers import Mask, Step, guarded, nothing

Kind = Literal["step", "branch", "return", "barrier", "collective"]
_ALL_LANES = np.uint32(0xFFFFFFFF)


@dataclass
class Compiled:
    """An instruction as the scheduler sees it."""

    kind: Kind
    source: Instruction
    compile: Callable[[], Step]
    guard: Any = None  # a function that gives the predicate's row; None: always, or in the step
    target: int = 0  # of a branch
    members: Any = None  # the lanes that a collective names

    @cached_property
    def step(self) -> Step:
        """What it does; many are only executed together with others."""
        return self.compile()


class Scheduler:
    """The control flow of one kernel on one `Machine`."""

    def __init__(self, machine: Machine, step_limit: int) -> None:
        self.m = machine
        self.step_limit = step_limit
        self.steps = 0
        self._forms, self._batches = Forms(machine.kernel), Batches(machine)
        self._sound: set[Form] = set()  # whose instructions compile
        self.code = [self._compile(ins) for ins in machine.kernel.instructions]
        self._straight: dict[int, tuple[list[Step], int]] = {}

    # ---- Compiling ----

    def _compile(self, ins: Instruction) -> Compiled:
        m = self.m
        guard = m.registers.predicate(ins.guard) if ins.guard else None
        if ins.name == "bra":
            target = m.kernel.labels.get(ins.args[0])
            if target is None:
                raise unsupported(ins)
            return Compiled("branch", ins, lambda: nothing, guard=guard, target=target)
        if ins.name in ("ret", "exit"):
            return Compiled("return", ins, lambda: nothing, guard=guard)
        if ins.name == "call" and "vprintf" in ins.args:
            return Compiled("step", ins, lambda: nothing)
        if ins.name in ("trap", "call"):
            return Compiled("step", ins, lambda: guarded(guard, self._trap(ins)))
        if ins.name in ("bar", "barrier"):
            return self._barrier(ins, guard)
        if ins.name not in COLLECTIVES:
            return self._checked(Compiled("step", ins, partial(self._compile_step, ins)))
        names_no_lanes = ins.name in ("mma", "ldmatrix")
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
                m.shared.barrier(np.unique(m.warp[m.lanes(where)]))

            members = m.registers.source(ins.args[0], "b32")
            return Compiled("collective", ins, lambda: warps_meet, guard=guard, members=members)
        is_reduction = ins.has("red")
        operands = ins.args[1:-1] if is_reduction else ins.args
        threads = int(m.registers.immediate(operands[1], "u32")) if len(operands) > 1 else m.threads
        if ins.has("arrive") or threads != m.threads:
            raise unsupported(ins, "a barrier of some of the threads")
        if not is_reduction:
            return Compiled("barrier", ins, lambda: nothing, guard=guard)
        vote = m.registers.predicate(ins.args[-1])
        decisions: dict[str, Callable[[Row], Any]] = {"popc": np.sum, "and": np.all, "or": np.any}
        count = decisions[ins.op[-2]]
        result = m.registers.target(ins.args[0], ins.op[-1])

        def decide(where: Mask = True) -> None:
            voting = m.lanes(where)
            result[voting] = count(m.registers.spread(vote())[voting])

        return Compiled("barrier", ins, lambda: decide, guard=guard)

    def _straight_line(self, i: int) -> tuple[list[Step], int]:
        """Return the steps from i to the next control instruction, all lanes acting, and its i."""
        if i not in self._straight:
            end = i
            while end < len(self.code) and self._is_straight(self.code[end]):
                end += 1
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

    def _is_straight(self, one: Compiled) -> bool:
        """Return whether an instruction is a step, or a collective of whole warps."""
        return one.kind == "step" or (
            one.kind == "collective"
            and one.guard is None
            and np.ndim(one.members) == 0
            and int(one.members) == 0xFFFFFFFF
            and self.m.threads % 32 == 0
        )

    # ---- Running ----

    def run_block(self, index: Shape) -> None:
        """Execute one block to its end."""
        m = self.m
        m.start_block(index)
        self.at = np.zeros(m.threads, np.int64)  # the next instruction of each thread
        self.done, self.at_barrier, self.at_collective = np.zeros((3, m.threads), bool)
        while not self.done.all():
            running = ~(self.done | self.at_barrier | self.at_collective)
            if not running.any():
                self._rendezvous()
                continue
            i = int(self.at[running].min())
            here = running & (self.at == i)
            if here.all():
                self._run_converged(i)
            else:
                self._run_masked(i, here, running)
            if self.steps > self.step_limit:
                m.fail(f"step limit: {self.steps} instructions and no end", self.code[i].source)

    def _rendezvous(self) -> None:
        """Nobody can run: complete a collective or the barrier, or report a deadlock."""
        places = np.unique(self.at[self.at_collective])
        completed = [self._complete_collective(int(i)) for i in places]
        if any(completed):
            return
        if not (self.at_barrier | self.done).all():
            waiting = self.at[~self.done]
            where = "; ".join(
                f"{int((waiting == i).sum())} threads at {self.code[i].source}"
                for i in np.unique(waiting)
            )
            self.m.fail("deadlock", where)
        places = np.unique(self.at[self.at_barrier])
        if len(places) > 1:
            where = " and ".join(str(self.code[i].source) for i in places)
            self.m.fail("divergent barrier", where)
        if self.done.any():
            left = int(self.done.sum())
            self.m.fail(
                f"barrier after {left} threads of the block returned", self.code[places[0]].source
            )
        self.code[places[0]].step(where=self.at_barrier)
        self.at[self.at_barrier] += 1
        self.at_barrier[:] = False
        self.m.shared.barrier()

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
            elif (taken is not None and not taken.all()) or one.kind == "collective":
                self.at[:] = i
                everyone = np.ones(self.m.threads, bool)
                self._run_masked(i, everyone, everyone)
                return
            elif one.kind == "branch":
                i = one.target
            elif one.kind == "barrier":
                one.step()
                self.m.shared.barrier()
                i += 1
            else:
                self.done[:] = True
                return
        self.at[:] = i

    def _run_masked(self, i: int, here: Row, running: Row) -> None:
        """Run the threads ``here``, at i, to a control instruction or another group's place."""
        others = self.at[running & ~here & (self.at > i)]
        stop = int(others.min()) if len(others) else len(self.code) + 1
        while i < stop:
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
                self.at[acting] = one.target
            elif one.kind == "return":
                self.done |= acting
            elif one.kind == "barrier":
                self.at_barrier |= acting
            else:
                self.at_collective |= acting
                self._complete_collective(i)
            return
        self.at[here] = i

    def _complete_collective(self, i: int) -> bool:
        """Run the collective at i for every warp whose named lanes have all arrived."""
        one, m = self.code[i], self.m
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
