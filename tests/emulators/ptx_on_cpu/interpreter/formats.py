"""PTX's types as numpy's, and the number formats that numpy does not have."""

from __future__ import annotations

from typing import Any

import numpy as np

#: One value of every thread of a block, or a number that all of them share.
Row = np.ndarray[Any, Any]

#: The numpy type in which values of a PTX type are kept. Packed halves and the formats that numpy
#: lacks are kept as their bits.
NUMPY_TYPES: dict[str, Any] = {
    "u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "u64": np.uint64,
    "s8": np.int8, "s16": np.int16, "s32": np.int32, "s64": np.int64,
    "b8": np.uint8, "b16": np.uint16, "b32": np.uint32, "b64": np.uint64,
    "f16": np.float16, "f32": np.float32, "f64": np.float64,
    "bf16": np.uint16, "tf32": np.uint32, "f16x2": np.uint32, "bf16x2": np.uint32,
    "pred": np.bool_,
}  # fmt: skip
UNSIGNED: dict[int, Any] = {
    1: np.bool_, 8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64,
}  # fmt: skip
_SMALLEST_NORMAL = np.float32(2.0**-126)


def bits(kind: str) -> int:
    """Return the width of a PTX type in bits; that of a predicate is 1."""
    return 1 if kind == "pred" else np.dtype(NUMPY_TYPES[kind]).itemsize * 8


def is_float(kind: str) -> bool:
    """Return whether a PTX type holds floating-point numbers."""
    return kind[0] == "f" or kind.startswith("bf")


def bf16_to_float(pattern: Any) -> Row:
    """Return the float32 values of bfloat16 bit patterns."""
    wide = np.asarray(pattern).astype(np.uint32) << np.uint32(16)
    return wide.view(np.float32)


def float_to_bf16(values: Any) -> Row:
    """Round float32 values to bfloat16 bit patterns, to nearest even."""
    values = np.asarray(values, np.float32)
    pattern = values.view(np.uint32)
    even = (pattern >> np.uint32(16)) & np.uint32(1)
    rounded = (pattern + np.uint32(0x7FFF) + even) >> np.uint32(16)
    return np.where(np.isnan(values), 0x7FFF, rounded).astype(np.uint16)


def float_to_tf32(values: Any) -> Row:
    """Round float32 values to tf32 bit patterns, to nearest, ties away from zero (cvt.rna)."""
    values = np.asarray(values, np.float32)
    pattern = values.view(np.uint32)
    rounded = np.where(np.isinf(values), pattern, pattern + np.uint32(0x1000))
    return np.where(np.isnan(values), np.uint32(0x7FFFFFFF), rounded & np.uint32(0xFFFFE000))


def half_to_float(pattern: Any, kind: str) -> Row:
    """Return the float32 values of 16-bit patterns of kind ``"f16"`` or ``"bf16"``."""
    if kind == "bf16":
        return bf16_to_float(pattern)
    return np.asarray(pattern, np.uint16).view(np.float16).astype(np.float32)


def float_to_half(values: Any, kind: str) -> Row:
    """Round to 16-bit patterns of kind ``"f16"`` or ``"bf16"``."""
    if kind == "bf16":
        return float_to_bf16(values)
    return np.asarray(values).astype(np.float16).view(np.uint16)


def flush(values: Any) -> Row:
    """Turn subnormal float32 numbers into zeros of the same sign (.ftz)."""
    return np.where(np.abs(values) < _SMALLEST_NORMAL, np.copysign(np.float32(0), values), values)
