"""cvt: from one type to another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..formats import (
    NUMPY_TYPES,
    UNSIGNED,
    bf16_to_float,
    bits,
    float_to_bf16,
    float_to_half,
    float_to_tf32,
    flush,
    is_float,
)
from ..machine import Machine
from ..parser import Instruction
from ..registers import Step
from .registry import instruction, unsupported

_TO_INTEGER = {"rzi": np.trunc, "rni": np.rint, "rmi": np.floor, "rpi": np.ceil}


@instruction("cvt")
def convert(m: Machine, ins: Instruction) -> Step:
    """Compile ``cvt``. Floats are rounded to nearest; other directions are refused."""
    to, source = ins.types(NUMPY_TYPES)[-2:]
    if ins.has("pack") or (ins.has("rz", "rm", "rp") and (is_float(to) or to.endswith("x2"))):
        raise unsupported(ins)
    if to in ("f16x2", "bf16x2"):
        return _to_packed(m, ins, to, source)
    read = m.registers.narrowed(ins.args[1], source)
    if to == "tf32":
        return m.registers.assign(ins.args[0], "b32", lambda: float_to_tf32(read()))
    value = (lambda: bf16_to_float(read())) if source == "bf16" else read
    if is_float(to):
        function = _to_float(ins, value, to, source)
        return m.registers.assign(ins.args[0], to, function)
    # An 8-bit result lies in a wider register.
    kind = f"{to[0]}{8 * m.registers.rows[ins.args[0]].itemsize}"
    return m.registers.assign(ins.args[0], kind, _to_integer(m, ins, value, to, source))


def _to_packed(m: Machine, ins: Instruction, to: str, source: str) -> Step:
    high, low = (m.registers.source(operand, source) for operand in ins.args[1:3])
    half = to[:-2]

    def part(values: Any) -> Any:
        kept = np.maximum(values, np.float32(0)) if ins.has("relu") else values
        return np.asarray(float_to_half(kept, half)).astype(np.uint32)

    return m.registers.assign(ins.args[0], to, lambda: part(high) << np.uint32(16) | part(low))


def _to_float(
    ins: Instruction, value: Callable[[], Any], to: str, source: str
) -> Callable[[], Any]:
    rounding = next((_TO_INTEGER[part] for part in ins.op if part in _TO_INTEGER), None)

    def converted() -> Any:
        x = np.asarray(value())
        if is_float(source) and rounding is not None:
            x = rounding(x)
        if ins.has("ftz") and x.dtype == np.float32:
            x = flush(x)
        if ins.has("sat"):
            x = np.fmin(np.fmax(x, x.dtype.type(0)), x.dtype.type(1))
        if ins.has("relu"):
            x = np.maximum(x, x.dtype.type(0))
        if to == "bf16":
            return float_to_bf16(np.asarray(x, np.float32))
        return x.astype(NUMPY_TYPES[to])

    return converted


def _to_integer(
    m: Machine, ins: Instruction, value: Callable[[], Any], to: str, source: str
) -> Callable[[], Any]:
    info = np.iinfo(NUMPY_TYPES[to])
    rounding = next((_TO_INTEGER[part] for part in ins.op if part in _TO_INTEGER), np.trunc)

    width = bits(to)
    of_nan = UNSIGNED[width](1 << (width - 1) if width == 64 or source == "f64" else 0)

    def from_float() -> Any:  # out of range: the nearest integer
        x = rounding(np.asarray(value()).astype(np.float64))
        above, nan = x >= float(info.max), np.isnan(x)
        inside = np.where(nan | above, 0, np.maximum(x, float(info.min))).astype(NUMPY_TYPES[to])
        whole = np.where(above, NUMPY_TYPES[to](info.max), inside)
        return np.where(nan, of_nan.view(NUMPY_TYPES[to]), whole)

    def saturated() -> Any:
        clamped = [min(max(int(v), info.min), info.max) for v in m.registers.spread(value())]
        return np.array(clamped).astype(NUMPY_TYPES[to])

    if is_float(source):
        return from_float
    return saturated if ins.has("sat") else lambda: value().astype(NUMPY_TYPES[to])
