"""Logic, shifts, bit fields, bytes."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..formats import NUMPY_TYPES, UNSIGNED, bits
from ..machine import Machine
from ..parser import Instruction
from ..registers import Step
from .registry import instruction, unsupported

_LOGIC: dict[str, np.ufunc] = {
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
}  # fmt: skip


@instruction("and", "or", "xor")
def logic(m: Machine, ins: Instruction) -> Step:
    """Compile ``and``, ``or``, ``xor``."""
    kind = ins.op[-1]
    x, y = (m.registers.source(operand, kind) for operand in ins.args[1:])
    return partial(_LOGIC[ins.name], x, y, out=m.registers.target(ins.args[0], kind))


@instruction("not")
def invert(m: Machine, ins: Instruction) -> Step:
    """Compile ``not``."""
    kind = ins.op[-1]
    source = m.registers.source(ins.args[1], kind)
    return partial(np.invert, source, out=m.registers.target(ins.args[0], kind))


@instruction("cnot")
def logical_not(m: Machine, ins: Instruction) -> Step:
    """Compile ``cnot``: 1 for 0, else 0."""
    source = m.registers.source(ins.args[1], ins.op[-1])
    return m.registers.assign(ins.args[0], ins.op[-1], lambda: source == 0)


@instruction("lop3")
def logic_of_three(m: Machine, ins: Instruction) -> Step:
    """Compile ``lop3``: any function of three bits, given by its table."""
    x, y, z = (m.registers.source(operand, "b32") for operand in ins.args[1:4])
    table = int(ins.args[4], 0)

    def result() -> Any:
        total: Any = np.uint32(0)
        for row in range(8):
            if table >> row & 1:
                term = (x if row & 4 else ~x) & (y if row & 2 else ~y) & (z if row & 1 else ~z)
                total = total | term
        return total

    return m.registers.assign(ins.args[0], "b32", result)


@instruction("shl", "shr")
def shift(m: Machine, ins: Instruction) -> Step:
    """Compile ``shl`` and ``shr``; a shift by the width or more leaves zeros, or the sign."""
    kind, width = ins.op[-1], bits(ins.op[-1])
    function = np.left_shift if ins.name == "shl" else np.right_shift
    x, amount = m.registers.source(ins.args[1], kind), m.registers.source(ins.args[2], "u32")
    if np.ndim(amount) == 0 and amount < width:
        target = m.registers.target(ins.args[0], kind)
        return partial(function, x, NUMPY_TYPES[kind](amount), out=target)

    def result() -> Any:
        too_far = amount >= width
        shifted = function(x, np.where(too_far, width - 1, amount).astype(NUMPY_TYPES[kind]))
        keeps_sign = ins.name == "shr" and kind[0] == "s"
        return shifted if keeps_sign else np.where(too_far, NUMPY_TYPES[kind](0), shifted)

    return m.registers.assign(ins.args[0], kind, result)


@instruction("shf")
def funnel_shift(m: Machine, ins: Instruction) -> Step:
    """Compile ``shf``: a shift of two registers taken as one."""
    low, high, amount = (m.registers.source(operand, "u32") for operand in ins.args[1:])

    def result() -> Any:
        n = amount.astype(np.uint64)
        n = n & np.uint64(31) if ins.has("wrap") else np.minimum(n, np.uint64(32))
        both = high.astype(np.uint64) << np.uint64(32) | low.astype(np.uint64)
        return both >> n if ins.has("r") else (both << n) >> np.uint64(32)

    return m.registers.assign(ins.args[0], "u32", result)


@instruction("prmt")
def permute(m: Machine, ins: Instruction) -> Step:
    """Compile ``prmt.b32``: four bytes of eight, or their signs."""
    if ins.op[1:] != ["b32"]:
        raise unsupported(ins)
    x, y, choice = (m.registers.source(operand, "b32") for operand in ins.args[1:])

    def result() -> Any:
        both = x.astype(np.uint64) | y.astype(np.uint64) << np.uint64(32)
        total: Any = np.uint64(0)
        for i in range(4):
            nibble = choice.astype(np.uint64) >> np.uint64(4 * i)
            byte = both >> ((nibble & np.uint64(7)) * np.uint64(8)) & np.uint64(255)
            sign = np.where(byte & np.uint64(128), np.uint64(255), np.uint64(0))
            total = total | np.where(nibble & np.uint64(8), sign, byte) << np.uint64(8 * i)
        return total

    return m.registers.assign(ins.args[0], "b32", result)


@instruction("bfe")
def extract(m: Machine, ins: Instruction) -> Step:
    """Compile ``bfe``: a bit field, extended with zeros or its sign."""
    kind, width = ins.op[-1], bits(ins.op[-1])
    x = m.registers.source(ins.args[1], kind)
    start, count = (m.registers.source(operand, "u32") for operand in ins.args[2:])
    number = NUMPY_TYPES[kind]

    def result() -> Any:
        first = start.astype(np.int64) & 255
        length = np.minimum(count.astype(np.int64) & 255, width)
        shifted = x >> np.minimum(first, width - 1).astype(number)
        if kind[0] == "u":
            shifted = np.where(first < width, shifted, number(0))
            mask = (number(1) << np.minimum(length, width - 1).astype(number)) - number(1)
            return np.where(length < width, shifted & mask, shifted)
        # The arithmetic shift has brought the sign in where the field leaves the register.
        inside = (length > 0) & (first + length <= width)
        spare = np.where(inside, width - length, 0).astype(number)
        return np.where(length == 0, number(0), (shifted << spare) >> spare)

    return m.registers.assign(ins.args[0], kind, result)


@instruction("bfi")
def insert(m: Machine, ins: Instruction) -> Step:
    """Compile ``bfi``: a bit field put into another value."""
    kind, width = ins.op[-1], bits(ins.op[-1])
    x, y = (m.registers.source(operand, kind) for operand in ins.args[1:3])
    start, count = (m.registers.source(operand, "u32") for operand in ins.args[3:])
    unsigned = UNSIGNED[width]

    def result() -> Any:
        first, length = (v.astype(np.uint64) & np.uint64(255) for v in (start, count))
        shift = np.minimum(first, width - 1).astype(unsigned)
        few = (unsigned(1) << np.minimum(length, width - 1).astype(unsigned)) - unsigned(1)
        ones = np.where(length >= width, unsigned(2**width - 1), few)
        mask = np.where(first < width, ones << shift, unsigned(0)).astype(unsigned)
        return (y & ~mask) | ((x << shift) & mask)

    return m.registers.assign(ins.args[0], kind, result)


@instruction("popc", "clz", "brev", "bfind")
def count_bits(m: Machine, ins: Instruction) -> Step:
    """Compile ``popc``, ``clz``, ``brev`` and ``bfind`` of unsigned numbers."""
    kind, width = ins.op[-1], bits(ins.op[-1])
    if ins.name == "bfind" and (kind[0] == "s" or ins.has("shiftamt")):
        raise unsupported(ins)
    source = m.registers.source(ins.args[1], f"u{width}")
    function = {
        "popc": lambda v: v.bit_count(),
        "clz": lambda v: width - v.bit_length(),
        "brev": lambda v: int(f"{v:0{width}b}"[::-1], 2),
        "bfind": lambda v: (v.bit_length() - 1) & 0xFFFFFFFF,
    }[ins.name]
    to = f"u{width}" if ins.name == "brev" else "u32"
    return m.registers.assign(
        ins.args[0],
        to,
        lambda: np.array([function(int(v)) for v in m.registers.spread(source)], np.uint64),
    )
