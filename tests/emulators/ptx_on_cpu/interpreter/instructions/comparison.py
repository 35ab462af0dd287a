"""setp, set and testp."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..formats import NUMPY_TYPES, UNSIGNED, bits, flush, half_to_float, is_float
from ..machine import Machine
from ..parser import Instruction
from ..registers import Mask, Step
from .registry import instruction, unsupported

_INTEGER: dict[str, np.ufunc] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal,
    "gt": np.greater, "ge": np.greater_equal, "lo": np.less, "ls": np.less_equal,
    "hi": np.greater, "hs": np.greater_equal,
}  # fmt: skip
#: Comparisons of floats that are what numpy's are, NaN included.
_PLAIN: dict[str, np.ufunc] = {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "eq": np.equal, "neu": np.not_equal,
}  # fmt: skip
_COMBINE: dict[str, np.ufunc] = {
    "and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor,
}  # fmt: skip


def _compare_floats(name: str) -> Callable[[Any, Any], Any]:
    """Return a comparison; names that end in "u" are also true beside a NaN."""

    def has_nan(x: Any, y: Any) -> Any:
        return np.isnan(x) | np.isnan(y)

    if name == "num":
        return lambda x, y: ~has_nan(x, y)
    if name == "nan":
        return has_nan
    if name in _INTEGER:
        ordered = _INTEGER[name]
        return lambda x, y: ordered(x, y) & ~has_nan(x, y)
    unordered = _INTEGER[name[:-1]]
    return lambda x, y: unordered(x, y) | has_nan(x, y)


_NAMES = {*_INTEGER, "num", "nan", *(f"{name}u" for name in ("eq", "ne", "lt", "le", "gt", "ge"))}


def _comparison(m: Machine, ins: Instruction, kind: str) -> Callable[[], Any]:
    """Return a function that gives the outcome of a setp or set."""
    name = next((part for part in ins.op[1:] if part in _NAMES), None)
    if name is None or kind.endswith("x2"):
        raise unsupported(ins)
    x, y = (m.registers.source(operand, kind) for operand in ins.args[1:3])
    if not is_float(kind):
        return partial(_INTEGER[name], x, y)
    compare = _compare_floats(name)
    if kind in ("f16", "bf16"):
        return lambda: compare(
            half_to_float(x.view(np.uint16), kind), half_to_float(y.view(np.uint16), kind)
        )
    if ins.has("ftz"):
        return lambda: compare(flush(x), flush(y))
    return lambda: compare(x, y)


@instruction("setp")
def set_predicate(m: Machine, ins: Instruction) -> Step:
    """Compile ``setp``: a predicate, its opposite, either combined with a third one."""
    kind = ins.op[-1]
    first, _, second = ins.args[0].partition("|")
    fast = _fast_comparison(ins, kind)
    if fast is not None and not second:
        x, y = (m.registers.source(operand, kind) for operand in ins.args[1:3])
        return partial(fast, x, y, out=m.registers.target(first, "pred"))
    compare = _comparison(m, ins, kind)
    third = m.registers.predicate(ins.args[3]) if len(ins.args) == 4 else None
    combine = next((_COMBINE[part] for part in ins.op if part in _COMBINE), None)
    targets = [
        (m.registers.target(name, "pred"), i)
        for i, name in enumerate((first, second))
        if name not in ("", "_")
    ]

    def step(where: Mask = True) -> None:
        outcome = compare()
        outcomes = [outcome, ~outcome]
        if combine is not None and third is not None:
            outcomes = [combine(one, third()) for one in outcomes]
        for target, i in targets:
            np.copyto(target, outcomes[i], where=where)

    return step


def _fast_comparison(ins: Instruction, kind: str) -> np.ufunc | None:
    """Return numpy's function for a plain comparison, which then writes the result itself."""
    name = next((part for part in ins.op[1:] if part in _NAMES), "")
    if len(ins.args) != 3 or ins.has("ftz"):
        return None
    if not is_float(kind):
        return _INTEGER.get(name)
    return _PLAIN.get(name) if kind in ("f32", "f64") else None


@instruction("set")
def set_value(m: Machine, ins: Instruction) -> Step:
    """Compile ``set``: 1.0 or all bits where a comparison holds, else 0."""
    to, kind = ins.types(NUMPY_TYPES)[-2:]
    compare = _comparison(m, ins, kind)
    ones = UNSIGNED[bits(to)](2 ** bits(to) - 1).view(NUMPY_TYPES[to])
    yes = NUMPY_TYPES[to](1) if is_float(to) else ones
    return m.registers.assign(ins.args[0], to, lambda: np.where(compare(), yes, NUMPY_TYPES[to](0)))


@instruction("testp")
def test_property(m: Machine, ins: Instruction) -> Step:
    """Compile ``testp``."""
    x, kind = m.registers.source(ins.args[1], ins.op[-1]), NUMPY_TYPES[ins.op[-1]]
    smallest = np.finfo(kind).smallest_normal
    tests: dict[str, Callable[[Any], Any]] = {
        "finite": np.isfinite,
        "infinite": np.isinf,
        "number": lambda v: ~np.isnan(v),
        "notanumber": np.isnan,
        "subnormal": lambda v: (np.abs(v) < smallest) & (v != 0),
        "normal": lambda v: np.isfinite(v) & (np.abs(v) >= smallest),
    }
    return m.registers.assign(ins.args[0], "pred", tests[ins.op[1]], x)
