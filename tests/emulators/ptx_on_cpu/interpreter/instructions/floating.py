"""Arithmetic on floats, and what integers share with it. Approximate operations are exact here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..formats import NUMPY_TYPES, bits, float_to_half, flush, half_to_float, is_float
from ..machine import Machine
from ..parser import Instruction
from ..registers import Mask, Step
from .registry import instruction, unsupported


def _fma(x: Any, y: Any, z: Any) -> Any:
    """Multiply and add; float32 and shorter in float64, where a product of two is exact."""
    if np.asarray(x).dtype == np.float64:
        return _fma_of_doubles(x, y, z)
    x, y, z = (np.asarray(v).astype(np.float64) for v in (x, y, z))
    return x * y + z


def _fma_of_doubles(x: Any, y: Any, z: Any) -> Any:
    """Multiply and add with the errors of product and sum, which floats can hold, added last."""
    product, total = x * y, x * y + z
    (x_high, x_low), (y_high, y_low) = _halves(x), _halves(y)
    product_error = x_low * y_low - (
        ((product - x_high * y_high) - x_low * y_high) - x_high * y_low
    )
    part = total - product
    sum_error = (product - (total - part)) + (z - part)
    exact = total + (sum_error + product_error)
    # Splitting overflows near the end of the range, and says nothing about infinities.
    return np.where(np.isfinite(exact), exact, total)


def _halves(x: Any) -> tuple[Any, Any]:
    """Split doubles into a sum of two with at most 26 bits each."""
    scaled = x * (2.0**27 + 1)
    high = scaled - (scaled - x)
    return high, x - high


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
    "min": np.minimum, "max": np.maximum, "neg": np.negative, "abs": np.abs,
    "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x), "rcp": np.reciprocal,
    "ex2": np.exp2, "lg2": np.log2, "sin": np.sin, "cos": np.cos, "tanh": np.tanh,
    "copysign": lambda sign, value: np.copysign(value, sign), "fma": _fma,
}  # fmt: skip


def _refuse_directed_rounding(ins: Instruction) -> None:
    if is_float(ins.op[-1]) and ins.has("rz", "rm", "rp"):
        raise unsupported(ins, "only rounding to nearest")


@instruction(
    "add", "sub", "min", "max", "neg", "abs", "sqrt", "rsqrt", "rcp", "ex2", "lg2", "sin", "cos",
    "tanh", "copysign",
)  # fmt: skip
def arithmetic(m: Machine, ins: Instruction) -> Step:
    """Compile arithmetic on one to three operands of any type, by the instruction's name."""
    _refuse_directed_rounding(ins)
    kind = ins.op[-1]
    function = _FUNCTIONS["fma" if ins.name == "mad" else ins.name]
    if ins.name in ("min", "max") and is_float(kind) and not ins.has("NaN"):
        function = {"min": np.fmin, "max": np.fmax}[ins.name]
    if kind in ("f16", "bf16", "f16x2", "bf16x2"):
        return _half_arithmetic(m, ins, function)
    sources = [m.registers.source(operand, kind) for operand in ins.args[1:]]
    if not is_float(kind) and ins.has("sat"):
        raise unsupported(ins)
    if is_float(kind) and ins.has("ftz", "sat"):
        return m.registers.assign(ins.args[0], kind, _flushed(ins, function), *sources)
    if isinstance(function, np.ufunc):
        return partial(function, *sources, out=m.registers.target(ins.args[0], kind))
    return m.registers.assign(ins.args[0], kind, function, *sources)


def _flushed(ins: Instruction, function: Callable[..., Any]) -> Callable[..., Any]:
    ftz, saturates = ins.has("ftz"), ins.has("sat")

    def result(*values: Any) -> Any:
        exact = function(*(map(flush, values) if ftz else values))
        rounded = np.asarray(exact, NUMPY_TYPES[ins.op[-1]])
        if ftz:
            rounded = flush(rounded)
        return np.fmin(np.fmax(rounded, 0), 1) if saturates else rounded

    return result


def _half_arithmetic(m: Machine, ins: Instruction, function: Callable[..., Any]) -> Step:
    """Compile arithmetic on halves, single or packed.

    Computed in float32 (fma in float64), wide enough for the second rounding to change nothing.
    """
    kind = ins.op[-1]
    half, width = kind.replace("x2", ""), bits(kind)
    sources = [m.registers.source(operand, f"b{width}") for operand in ins.args[1:]]
    unsigned = NUMPY_TYPES[f"u{width}"]

    def result() -> Any:
        values = [
            half_to_float(m.registers.spread(source).copy().view(np.uint16), half)
            for source in sources
        ]
        exact = np.asarray(function(*values), np.float64 if half == "f16" else np.float32)
        if ins.has("relu"):
            exact = np.maximum(exact, exact.dtype.type(0))
        if ins.has("sat"):
            exact = np.fmin(np.fmax(exact, exact.dtype.type(0)), exact.dtype.type(1))
        return float_to_half(exact, half).view(unsigned)

    return m.registers.assign(ins.args[0], f"b{width}", result)


@instruction("fma")
def fused_multiply_add(m: Machine, ins: Instruction) -> Step:
    """Compile ``fma``; that of float32 is exact in float64 but for the last rounding."""
    _refuse_directed_rounding(ins)
    kind = ins.op[-1]
    if kind != "f32" or ins.has("sat"):
        return arithmetic(
            m, Instruction(ins.guard, ["fma", *ins.op[1:]], ins.args, ins.text, ins.place)
        )
    x, y, z = (m.registers.source(operand, kind) for operand in ins.args[1:])
    target, ftz = m.registers.target(ins.args[0], kind), ins.has("ftz")
    wide = np.empty(m.threads, np.float64)

    def step(where: Mask = True) -> None:
        if ftz:
            np.multiply(flush(x), flush(y), out=wide, dtype=np.float64)
            np.add(wide, flush(z), out=wide)
            np.copyto(target, flush(wide.astype(np.float32)), where=where)
        else:
            np.multiply(x, y, out=wide, dtype=np.float64)
            np.add(wide, z, out=wide)
            np.copyto(target, wide, where=where, casting="same_kind")

    return step
