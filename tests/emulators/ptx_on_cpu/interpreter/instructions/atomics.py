"""Atomic operations on memory: threads act one after the other, in their order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..formats import NUMPY_TYPES, bits, float_to_half, half_to_float
from ..machine import Machine, space_of
from ..parser import Instruction
from ..registers import Mask, Step
from .registry import instruction, unsupported

#: What lies in memory afterwards, from what lay there and the operands.
_OPERATIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add": lambda old, a, b: old + a,
    "min": lambda old, a, b: min(old, a),
    "max": lambda old, a, b: max(old, a),
    "and": lambda old, a, b: old & a,
    "or": lambda old, a, b: old | a,
    "xor": lambda old, a, b: old ^ a,
    "exch": lambda old, a, b: a,
    "cas": lambda old, a, b: b if old == a else old,
    "inc": lambda old, a, b: 0 if old >= a else old + 1,
    "dec": lambda old, a, b: a if old == 0 or old > a else old - 1,
}


@instruction("atom", "red")
def atomic(m: Machine, ins: Instruction) -> Step:
    """Compile ``atom`` (the old value goes to a register) and ``red`` (it does not)."""
    kind, space = ins.op[-1], space_of(ins)
    operation = next((part for part in ins.op[1:] if part in _OPERATIONS), None)
    if operation is None:
        raise unsupported(ins)
    first = 1 if ins.name == "atom" else 0
    address, size = m.address(ins.args[first]), bits(kind) // 8
    a = m.registers.narrowed(ins.args[first + 1], kind)
    b = m.registers.narrowed(ins.args[first + 2], kind) if operation == "cas" else a
    keeps_old = ins.name == "atom" and ins.args[0] != "_"
    target = m.registers.target(ins.args[0], kind) if keeps_old else None
    function = _OPERATIONS[operation]
    if kind in ("bf16", "f16x2", "bf16x2"):
        if operation != "add":
            raise unsupported(ins)
        function = _add_halves("bf16" if kind.startswith("bf") else "f16", NUMPY_TYPES[kind])

    def step(where: Mask = True) -> None:
        threads = m.lanes(where)
        if not len(threads):
            return
        buffer, offsets = m.place(address()[threads], size, space, threads, ins)
        if buffer is m.shared.bytes:
            m.check_atomic(offsets, size, threads, ins)
        value_a, value_b = m.registers.spread(a())[threads], m.registers.spread(b())[threads]
        cells, old = buffer.view(NUMPY_TYPES[kind]), np.empty(len(threads), NUMPY_TYPES[kind])
        for i, cell in enumerate(offsets // size):
            old[i] = cells[cell]
            cells[cell] = function(old[i], value_a[i], value_b[i])
        if target is not None:
            target[threads] = old

    return step


def _add_halves(half: str, packed: Any) -> Callable[[Any, Any, Any], Any]:
    def add(old: Any, a: Any, _: Any) -> Any:
        x, y = (half_to_float(np.array([v]).view(np.uint16), half) for v in (old, a))
        return float_to_half(x + y, half).view(packed)[0]

    return add
