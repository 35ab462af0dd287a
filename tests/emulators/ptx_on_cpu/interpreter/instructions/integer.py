"""Integer arithmetic: products, quotients, carries."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..formats import NUMPY_TYPES, UNSIGNED, bits, is_float
from ..machine import Machine
from ..parser import Instruction
from ..registers import Mask, Step
from .floating import arithmetic, fused_multiply_add
from .registry import instruction, unsupported


@instruction("mul", "mad")
def multiply(m: Machine, ins: Instruction) -> Step:
    """Compile ``mul`` and ``mad``: ``.lo``, ``.hi`` and ``.wide`` of integers, or of floats."""
    kind, adds = ins.op[-1], ins.name == "mad"
    if is_float(kind):
        return fused_multiply_add(m, ins) if adds else arithmetic(m, ins)
    x, y = (m.registers.source(operand, kind) for operand in ins.args[1:3])
    if ins.has("wide"):
        wide = f"{kind[0]}{2 * bits(kind)}"
        extra = m.registers.source(ins.args[3], wide) if adds else NUMPY_TYPES[wide](0)
        X = NUMPY_TYPES[wide]
        return m.registers.assign(ins.args[0], wide, lambda: x.astype(X) * y.astype(X) + extra)
    extra = m.registers.source(ins.args[3], kind) if adds else NUMPY_TYPES[kind](0)
    if ins.has("hi"):
        high = _high_product(m, kind)
        return m.registers.assign(ins.args[0], kind, lambda: high(x, y) + extra)
    if adds:
        return m.registers.assign(ins.args[0], kind, lambda: x * y + extra)
    return partial(np.multiply, x, y, out=m.registers.target(ins.args[0], kind))


def _high_product(m: Machine, kind: str) -> Callable[[Any, Any], Any]:
    """Return a function that gives the upper half of a product."""
    width = bits(kind)
    if width < 64:
        X = np.int64 if kind[0] == "s" else np.uint64
        return lambda x, y: ((x.astype(X) * y.astype(X)) >> X(width)).astype(NUMPY_TYPES[kind])

    def exact(x: Any, y: Any) -> Any:
        pairs = zip(m.registers.spread(x), m.registers.spread(y), strict=True)
        high = [(int(p) * int(q) >> width) & (2**width - 1) for p, q in pairs]
        return np.array(high, np.uint64).view(NUMPY_TYPES[kind])

    return exact


@instruction("mul24", "mad24")
def multiply_24(m: Machine, ins: Instruction) -> Step:
    """Compile ``mul24.lo`` and ``mad24.lo``."""
    if not ins.has("lo"):
        raise unsupported(ins)
    kind = ins.op[-1]
    sources = [m.registers.source(operand, kind) for operand in ins.args[1:]]

    def low(value: Any) -> Any:
        if kind[0] == "s":
            return (value << NUMPY_TYPES[kind](8)) >> NUMPY_TYPES[kind](8)
        return value & np.uint32(0xFFFFFF)

    def product(x: Any, y: Any, *extra: Any) -> Any:
        return low(x) * low(y) + (extra[0] if extra else NUMPY_TYPES[kind](0))

    return m.registers.assign(ins.args[0], kind, product, *sources)


def with_carry(m: Machine, ins: Instruction) -> Step:
    """Compile add, sub and mad with ``.cc`` (which set the carry), addc, subc and madc."""
    width = bits(ins.op[-1])
    kind, unsigned = f"u{width}", UNSIGNED[width]
    name = {"addc": "add", "subc": "sub", "madc": "mad"}.get(ins.name, ins.name)
    uses = name != ins.name
    x, y = (m.registers.source(operand, kind) for operand in ins.args[1:3])
    extra = m.registers.source(ins.args[3], kind) if name == "mad" else None
    target, carry = m.registers.target(ins.args[0], kind), m.registers.carry
    is_signed, shift = ins.op[-1][0] == "s" and ins.has("hi"), width if ins.has("hi") else 0

    def number(value: Any) -> int:
        return int(value) - (1 << width) if is_signed and int(value) >> (width - 1) else int(value)

    def product() -> Any:
        pairs = zip(m.registers.spread(x), m.registers.spread(y), strict=True)
        parts = [(number(p) * number(q) >> shift) & ((1 << width) - 1) for p, q in pairs]
        return np.array(parts, np.uint64).astype(unsigned)

    def step(where: Mask = True) -> None:
        given = carry.astype(unsigned) if uses else unsigned(0)
        p, q = (product(), extra) if name == "mad" else (x, y)
        p, q = m.registers.spread(p), m.registers.spread(q)
        if name == "sub":
            result, out = p - q - given, (p < q) | ((p == q) & (given > 0))
        else:
            partial_sum = p + q
            result = partial_sum + given
            out = (partial_sum < p) | (result < partial_sum)
        np.copyto(target, result, where=where)
        if ins.has("cc"):
            np.copyto(carry, out, where=where)

    return step


instruction("addc", "subc", "madc")(with_carry)


@instruction("div", "rem")
def divide(m: Machine, ins: Instruction) -> Step:
    """Compile ``div`` and ``rem``; integers are divided towards zero."""
    kind = ins.op[-1]
    if is_float(kind):
        return arithmetic(m, ins)
    x, y = (m.registers.source(operand, kind) for operand in ins.args[1:3])
    unsigned = UNSIGNED[bits(kind)]
    is_quotient = ins.name == "div"

    def of_magnitudes(p: Any, q: Any) -> Any:
        nonzero = np.where(q == 0, unsigned(1), q)
        if not is_quotient:
            return np.where(q == 0, p, p % nonzero)
        return np.where(q == 0, unsigned(2 ** bits(kind) - 1), p // nonzero)

    def result() -> Any:
        p, q = m.registers.spread(x), m.registers.spread(y)
        if kind[0] == "u":
            return of_magnitudes(p, q)
        size_p, size_q = (np.where(v < 0, -v, v).view(unsigned) for v in (p, q))
        value = of_magnitudes(size_p, size_q).view(NUMPY_TYPES[kind])
        negative = (p < 0) != (q < 0) if is_quotient else p < 0
        return np.where(negative, -value, value)

    return m.registers.assign(ins.args[0], kind, result)
