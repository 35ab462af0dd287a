"""Loads, stores and parameters."""

from __future__ import annotations

import re

import numpy as np

from ..formats import NUMPY_TYPES, UNSIGNED, bits
from ..machine import Machine, space_of
from ..parser import Instruction
from ..registers import Mask, Step, nothing, vector
from .registry import instruction, unsupported


@instruction("ld", "ldu")
def load(m: Machine, ins: Instruction) -> Step:
    """Compile ``ld[.space][.vN].type``; a wider register is zero- or sign-extended."""
    if space_of(ins) == "param":
        return _parameter(m, ins)
    kind, names = ins.op[-1], vector(ins.args[0])
    element, count = bits(kind) // 8, len(names)
    address, space = m.address(ins.args[1]), space_of(ins)
    stored = UNSIGNED[8 * element]
    value_type = NUMPY_TYPES[kind] if kind[0] == "s" else stored
    sign = "s" if kind[0] == "s" else "u"
    targets = [
        None
        if name == "_"
        else m.registers.rows[name].view(
            NUMPY_TYPES[f"{sign}{8 * m.registers.rows[name].itemsize}"]
        )
        for name in names
    ]
    columns = np.arange(count)

    def step(where: Mask = True) -> None:
        threads = m.lanes(where)
        if not len(threads):
            return
        buffer, offsets = m.place(address()[threads], element * count, space, threads, ins)
        if buffer is m.shared.bytes:
            m.check_read(offsets, element * count, threads, ins)
        values = buffer.view(stored)[(offsets // element)[:, None] + columns].view(value_type)
        for column, target in enumerate(targets):
            if target is not None:
                target[threads] = values[:, column]

    return step


def _parameter(m: Machine, ins: Instruction) -> Step:
    found = re.match(r"\[\s*([\w$]+)\s*(?:\+\s*(\d+))?\s*\]", ins.args[1])
    if found is None:
        raise unsupported(ins)
    element = bits(ins.op[-1]) // 8
    stored = m.arguments.get(found[1])
    if stored is None:  # what a call returned; calls themselves are refused when they are reached
        return nothing
    steps = []
    for i, name in enumerate(vector(ins.args[0])):
        offset = int(found[2] or 0) + i * element
        value = np.frombuffer(stored[offset : offset + element], UNSIGNED[8 * element])[0]
        width = 8 * m.registers.rows[name].itemsize
        steps.append(m.registers.assign(name, f"b{width}", lambda value=value: value))

    def step(where: Mask = True) -> None:
        for one in steps:
            one(where=where)

    return step


@instruction("st")
def store(m: Machine, ins: Instruction) -> Step:
    """Compile ``st[.space][.vN].type``."""
    if space_of(ins) == "param":  # an argument of a call
        return nothing
    kind, names = ins.op[-1], vector(ins.args[1])
    element, count = bits(kind) // 8, len(names)
    address, space = m.address(ins.args[0]), space_of(ins)
    sources = [m.registers.narrowed(name, f"b{8 * element}") for name in names]
    stored = UNSIGNED[8 * element]
    columns = np.arange(count)

    def step(where: Mask = True) -> None:
        threads = m.lanes(where)
        if not len(threads):
            return
        buffer, offsets = m.place(address()[threads], element * count, space, threads, ins)
        values = np.empty((len(threads), count), stored)
        for column, source in enumerate(sources):
            values[:, column] = m.registers.spread(source())[threads]
        is_shared = buffer is m.shared.bytes
        if is_shared:
            m.check_write(offsets, element * count, threads, values.view(np.uint8), ins)
        cells, index = buffer.view(stored), (offsets // element)[:, None] + columns
        cells[index] = values
        if is_shared and m.shared.tracks and (cells[index] != values).any():
            m.fail("shared-memory race (two threads store different values at one place)", ins)

    return step
