"""Instructions as the scheduler sees them: steps, branches, barriers, collectives, waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np

from .formats import Row
from .forms import Form, Forms
from .instructions import COLLECTIVES, compile_step
from .instructions.mbarrier import wait, wait_address
from .instructions.registry import unsupported
from .machine import Machine
from .parser import Instruction
from .registers import Mask, Step, guarded, nothing

Kind = Literal["step", "branch", "return", "barrier", "collective", "wait"]
_ALL_LANES = np.uint32(0xFFFFFFFF)


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


class Reader:
    """Reads a kernel's instructions, so that unknown ones are found before it starts."""

    def __init__(self, machine: Machine, forms: Forms) -> None:
        self.m = machine
        self._forms = forms
        self._sound: set[Form] = set()  # whose instructions compile

    def read(self) -> list[Compiled]:
        """Return all instructions of the machine's kernel."""
        return [self._read(ins) for ins in self.m.kernel.instructions]

    def _read(self, ins: Instruction) -> Compiled:
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
