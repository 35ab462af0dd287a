"""Moves, packing, address conversion and selection."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..device_memory import GLOBAL_BASE, LOCAL_BASE
from ..formats import UNSIGNED, bits
from ..machine import Machine
from ..parser import Instruction
from ..registers import Mask, Step, vector
from .registry import instruction, unsupported


@instruction("mov")
def move(m: Machine, ins: Instruction) -> Step:
    """Compile ``mov``, also from and to ``{ }`` vectors."""
    kind = ins.op[-1]
    target, source = ins.args
    if "{" in target:
        return _unpack(m, ins)
    if "{" in source:
        return _pack(m, ins)
    if kind == "pred":
        return m.registers.assign(target, kind, m.registers.predicate(source))
    unsigned = f"u{bits(kind)}"
    if source in ("%clock64", "%globaltimer"):
        return m.registers.assign(target, "u64", lambda: 0)
    if source in m.registers.special and bits(kind) != 32:
        special = m.registers.special[source]
        return m.registers.assign(target, unsigned, lambda: special)
    return partial(
        np.copyto, m.registers.target(target, unsigned), m.registers.source(source, unsigned)
    )


def _unpack(m: Machine, ins: Instruction) -> Step:
    names, total = vector(ins.args[0]), bits(ins.op[-1])
    width = total // len(names)
    source = m.registers.source(ins.args[1], f"u{total}")
    parts = [
        (m.registers.target(name, f"u{width}"), UNSIGNED[total](i * width))
        for i, name in enumerate(names)
        if name != "_"
    ]

    def step(where: Mask = True) -> None:
        values = [source >> shift for _, shift in parts]  # before a target is overwritten
        for (target, _), value in zip(parts, values, strict=True):
            np.copyto(target, value, where=where, casting="unsafe")

    return step


def _pack(m: Machine, ins: Instruction) -> Step:
    names, total = vector(ins.args[1]), bits(ins.op[-1])
    width, wide = total // len(names), UNSIGNED[total]
    sources = [m.registers.source(name, f"u{width}") for name in names]

    def packed() -> Any:
        value = wide(0)
        for i, source in enumerate(sources):
            value = value | source.astype(wide) << wide(i * width)
        return value

    return m.registers.assign(ins.args[0], f"u{total}", packed)


@instruction("cvta")
def convert_address(m: Machine, ins: Instruction) -> Step:
    """Compile ``cvta``: shared and global addresses are generic ones as they are."""
    target, source = ins.args
    value, base = m.registers.source(source, "u64"), np.uint64(LOCAL_BASE)
    if not ins.has("local"):
        return m.registers.assign(target, "u64", lambda: value)
    if ins.has("to"):
        return m.registers.assign(target, "u64", lambda: value - base)
    return m.registers.assign(target, "u64", lambda: value + base)


@instruction("isspacep")
def is_space(m: Machine, ins: Instruction) -> Step:
    """Compile ``isspacep``."""
    address = m.registers.source(ins.args[1], "u64")
    tests = {
        "shared": lambda: address < GLOBAL_BASE,
        "global": lambda: (address >= GLOBAL_BASE) & (address < LOCAL_BASE),
        "local": lambda: address >= LOCAL_BASE,
    }
    return m.registers.assign(ins.args[0], "pred", tests[ins.op[1].partition("::")[0]])


@instruction("createpolicy")
def create_policy(m: Machine, ins: Instruction) -> Step:
    """Compile ``createpolicy``: there is no cache."""
    return m.registers.assign(ins.args[0], "b64", lambda: 0)


@instruction("selp")
def select(m: Machine, ins: Instruction) -> Step:
    """Compile ``selp``: one of two values, by a predicate."""
    kind = f"b{bits(ins.op[-1])}"
    yes, no = (m.registers.source(operand, kind) for operand in ins.args[1:3])
    choice = m.registers.predicate(ins.args[3])
    return m.registers.assign(ins.args[0], kind, lambda: np.where(choice(), yes, no))


@instruction("slct")
def select_by_sign(m: Machine, ins: Instruction) -> Step:
    """Compile ``slct``: one of two values, by the sign of a third."""
    kinds = [part for part in ins.op[1:] if part != "ftz"]
    if len(kinds) != 2:
        raise unsupported(ins)
    yes, no = (m.registers.source(operand, kinds[0]) for operand in ins.args[1:3])
    sign = m.registers.source(ins.args[3], kinds[1])
    return m.registers.assign(ins.args[0], kinds[0], lambda: np.where(sign >= 0, yes, no))
