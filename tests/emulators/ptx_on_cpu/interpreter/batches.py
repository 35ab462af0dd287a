"""Straight-line code in fewer, wider steps: independent instructions of one form run as one.

The values of all their registers are put side by side, as if the block had as many more threads,
and the instruction's own step does the work once. What depends on each other keeps its order, and
so do accesses to memory, but for loads among themselves: results, and races, are the same.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

import numpy as np

from .formats import UNSIGNED, Row
from .forms import Form, Operands, template
from .instructions import compile_step
from .machine import Machine
from .parser import Instruction
from .registers import Registers, Step, guarded

#: Wider steps would leave the caches.
_WIDEST = 64


def groups_of(operands: Sequence[Operands]) -> list[list[int]]:
    """Order instructions in groups; those of a group have one form and don't depend on each other.

    Each one joins the first group behind all that it depends on, or begins one at the end.
    """
    groups: list[list[int]] = []
    places: dict[Form, list[int]] = {}  # of the groups of a form, rising
    written: dict[str, int] = {}
    read: dict[str, int] = {}
    last = {"load": -1, "copy": -1, "other": -1}
    for i, (form, targets, sources, _) in enumerate(operands):
        # It runs after the group `after`, and not before `first`: a group reads all registers
        # before it writes any.
        after, first = -1, 0
        for name in (*sources, *targets):
            if (place := written.get(name, -1)) > after:
                after = place
        for name in targets:
            if (place := read.get(name, 0)) > first:
                first = place
        if form.memory != "none":
            after = max(after, *(place for kind, place in last.items() if kind != form.memory))
        place = len(groups)
        if form.together:
            first = max(first, after + 1)
            known = places.setdefault(form, [])
            for earlier in known[bisect_left(known, first) :]:
                if len(groups[earlier]) < _WIDEST:
                    place = earlier
                    break
            else:
                known.append(place)
        if place == len(groups):
            groups.append([i])
        else:
            groups[place].append(i)
        for name in sources:
            if read.get(name, 0) < place:
                read[name] = place
        for name in targets:
            written[name] = place
        if form.memory != "none":
            last[form.memory] = max(last[form.memory], place)
    return groups


class _Registers(Registers):
    """Rows of a wide machine, made when they are first asked for."""

    def __init__(self, narrow: Registers, threads: int) -> None:
        self.threads = threads
        self.rows: dict[str, Row] = {}
        self.special = {}
        self.symbols = narrow.symbols

    def add(self, name: str) -> Row:
        """Return the row of a register called ``%w<width>_...``."""
        if name not in self.rows:
            width = int(name[2:].partition("_")[0])
            self.rows[name] = np.empty(self.threads, UNSIGNED[width])
        return self.rows[name]


class _Wide(Machine):
    """The threads of a block several times side by side, each time for another instruction."""

    def __init__(self, narrow: Machine, copies: int) -> None:
        self._narrow = narrow
        self.kernel, self.memory, self.shared = narrow.kernel, narrow.memory, narrow.shared
        self.threads = copies * narrow.threads
        self.lane, self.warp = np.arange(self.threads) % 32, np.arange(self.threads) // 32
        self.warps = -(-self.threads // 32)
        self.registers = _Registers(narrow.registers, self.threads)
        self.instructions: list[Instruction] = []  # that are being executed

    def fail(self, message: str, at: object, thread: int | None = None) -> NoReturn:
        copy, own = divmod(thread or 0, self._narrow.threads)
        self._narrow.fail(message, self.instructions[copy], None if thread is None else own)

    def check_read(self, offsets: Row, size: int, threads: Row, at: Instruction) -> None:
        own = self._narrow.number(threads % self._narrow.threads)
        race = self.shared.read_race(offsets, size, own)
        if race:
            self.fail(race[1], at, int(threads[race[0]]))


class Batches:
    """Compiles groups of instructions for one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._wide: dict[int, _Wide] = {}
        self._steps: dict[tuple[Form, int], tuple[Step, list[str]]] = {}

    def compile(self, operands: Sequence[Operands], sources: Sequence[Instruction]) -> Step:
        """Return the step of a group of instructions that have one form."""
        count, form = len(operands), operands[0].form
        wide = self._wide.get(count)
        if wide is None:
            wide = self._wide[count] = _Wide(self._machine, count)
        found = self._steps.get((form, count))
        if found is None:
            found = self._steps[form, count] = _wide_step(wide, form)
        step, names = found
        columns = list(zip(*((*one.targets, *one.sources) for one in operands), strict=True))
        targets = len(operands[0].targets)
        rows = [
            (
                *self._machine.registers.together(column),
                wide.registers.rows[name].reshape(count, -1),
            )
            for column, name in zip(columns, names, strict=True)
        ]
        # Where a guard's predicate does not hold, the targets keep what they are.
        gather = [_gather(*row) for row in (rows if form.guard else rows[targets:])]
        scatter = rows[:targets]
        if form.memory == "none":
            return _of_registers(step, gather, scatter)
        address = rows[targets][2]
        shift = np.array([[one.offset] for one in operands]).astype(address.dtype)
        here = list(sources)

        def prepare() -> None:
            if shift.any():
                np.add(address, shift, out=address)
            wide.instructions = here

        return _of_registers(step, [*gather, prepare], scatter)


def _gather(pool: Row, chosen: Any, values: Row) -> Callable[[], object]:
    if isinstance(chosen, slice):
        return partial(np.copyto, values, pool[chosen])
    if pool.flags.c_contiguous:
        return partial(pool.take, chosen, 0, values, "clip")
    return lambda: np.copyto(values, pool[chosen])  # take would copy the whole pool first


def _of_registers(
    step: Step, gather: Sequence[Callable[[], object]], scatter: Sequence[tuple[Row, Any, Row]]
) -> Step:
    if len(scatter) == 1:
        ((pool, chosen, values),) = scatter

        def run(where: bool = True) -> None:
            for one in gather:
                one()
            step()
            pool[chosen] = values

        return run

    def run_several(where: bool = True) -> None:
        for one in gather:
            one()
        step()
        for pool, chosen, values in scatter:
            pool[chosen] = values

    return run_several


def _wide_step(wide: _Wide, form: Form) -> tuple[Step, list[str]]:
    ins, names = template(form)
    for name in names:
        wide.registers.add(name)
    step = compile_step(wide, ins)
    if ins.guard:
        step = guarded(wide.registers.predicate(ins.guard), step)
    return step, names
