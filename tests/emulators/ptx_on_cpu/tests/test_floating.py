"""Floating-point instructions give what numpy gives, special values included."""

from __future__ import annotations

import numpy as np
import pytest

from ..interpreter import PtxError, bf16_to_float, float_to_bf16
from ..interpreter.formats import flush
from .snippets import evaluate, floats


def f32(x) -> np.ndarray:
    return np.asarray(x, np.float64).astype(np.float32)


def fma(x, y, z) -> np.ndarray:
    return f32(x.astype(np.float64) * y.astype(np.float64) + z.astype(np.float64))


def half(x) -> np.ndarray:
    return x.astype(np.float16).astype(np.float32)


def bf16(x) -> np.ndarray:
    return bf16_to_float(float_to_bf16(x))


def tf32(x) -> np.ndarray:
    bits = (x.view(np.uint32) + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
    return np.where(np.isfinite(x), bits.view(np.float32), x)


def to_s32(x) -> np.ndarray:
    inside = np.clip(np.nan_to_num(np.trunc(x.astype(np.float64))), -(2.0**31), 2.0**31 - 1)
    return inside.astype(np.int64).astype(np.float32)


#: Instructions on %r1 ... %r3 as float32, with the result in %r0.
CASES = {
    "add": ("add.f32 %r0, %r1, %r2;", np.add),
    "add.ftz": ("add.ftz.f32 %r0, %r1, %r2;", lambda x, y: flush(flush(x) + flush(y))),
    "mul.sat": ("mul.sat.f32 %r0, %r1, %r2;", lambda x, y: np.fmin(np.fmax(x * y, 0), 1)),
    "div": ("div.rn.f32 %r0, %r1, %r2;", np.divide),
    "sqrt": ("sqrt.rn.f32 %r0, %r1;", np.sqrt),
    "rsqrt": ("rsqrt.approx.f32 %r0, %r1;", lambda x: 1 / np.sqrt(x)),
    "rcp": ("rcp.approx.f32 %r0, %r1;", np.reciprocal),
    "ex2": ("ex2.approx.f32 %r0, %r1;", np.exp2),
    "lg2": ("lg2.approx.f32 %r0, %r1;", np.log2),
    "min drops NaN": ("min.f32 %r0, %r1, %r2;", np.fmin),
    "max.NaN": ("max.NaN.f32 %r0, %r1, %r2;", np.maximum),
    "neg abs": ("abs.f32 %r3, %r1; neg.f32 %r0, %r3;", lambda x: -np.abs(x)),
    "copysign": ("copysign.f32 %r0, %r1, %r2;", lambda x, y: np.copysign(y, x)),
    "fma": ("fma.rn.f32 %r0, %r1, %r2, %r3;", fma),
    "fma.sat": (
        "fma.rn.sat.f32 %r0, %r1, %r2, %r3;",
        lambda x, y, z: np.fmin(np.fmax(fma(x, y, z), 0), 1),
    ),
    "cvt.rni": ("cvt.rni.f32.f32 %r0, %r1;", np.rint),
    "cvt.rzi.s32": ("cvt.rzi.s32.f32 %r3, %r1; cvt.rn.f32.s32 %r0, %r3;", to_s32),
    "cvt.rna.tf32": ("cvt.rna.tf32.f32 %r0, %r1;", tf32),
    "cvt.f16": ("cvt.rn.f16.f32 %h1, %r1; cvt.f32.f16 %r0, %h1;", half),
    "cvt.bf16": ("cvt.rn.bf16.f32 %h1, %r1; cvt.f32.bf16 %r0, %h1;", bf16),
    "cvt.f16x2": (
        "cvt.rn.f16x2.f32 %r3, %r1, %r2; mov.b32 {%h1, %h2}, %r3; "
        "cvt.f32.f16 %r4, %h1; cvt.f32.f16 %r5, %h2; sub.f32 %r0, %r5, %r4;",
        lambda x, y: half(x) - half(y),
    ),
    "cvt.bf16x2": (
        "cvt.rn.bf16x2.f32 %r3, %r1, %r2; and.b32 %r0, %r3, 0xffff0000;",
        lambda x, y: bf16(x),
    ),
    "fma.f16x2": (
        "cvt.rn.f16x2.f32 %r3, %r1, %r2; fma.rn.f16x2 %r4, %r3, %r3, %r3; "
        "mov.b32 {%h1, %h2}, %r4; cvt.f32.f16 %r0, %h2;",
        lambda x, y: half(f32(half(x).astype(np.float64) ** 2 + half(x))),
    ),
    "f64": (
        "cvt.f64.f32 %d1, %r1; mul.f64 %d2, %d1, %d1; sqrt.rn.f64 %d3, %d2; cvt.rn.f32.f64 %r0, "
        "%d3;",
        np.abs,
    ),
    "fma.f64": (
        "cvt.f64.f32 %d1, %r1; mov.f64 %d2, 0dBFF0000000000001; fma.rn.f64 %d3, %d1, %d2, %d1; "
        "cvt.rn.f32.f64 %r0, %d3;",
        lambda x: np.where(np.isfinite(x), f32(-x.astype(np.float64) * 2.0**-52), np.nan),
    ),
    "a constant": ("add.f32 %r0, %r1, 0f3FC00000;", lambda x: x + np.float32(1.5)),
}
CASES |= {
    f"setp.{name}": (
        f"setp.{name}.f32 %p1, %r1, %r2; selp.f32 %r0, 0f3F800000, 0f00000000, %p1;",
        lambda x, y, function=function: function(x, y).astype(np.float32),
    )
    for name, function in {
        "lt": np.less,
        "ne": lambda x, y: (x != y) & ~np.isnan(x) & ~np.isnan(y),
        "neu": np.not_equal,
        "geu": lambda x, y: ~(x < y),
        "equ": lambda x, y: (x == y) | np.isnan(x) | np.isnan(y),
        "num": lambda x, y: ~(np.isnan(x) | np.isnan(y)),
        "nan": lambda x, y: np.isnan(x) | np.isnan(y),
    }.items()
}
CASES |= {
    f"testp.{name}": (
        f"testp.{name}.f32 %p1, %r1; selp.f32 %r0, 0f3F800000, 0f00000000, %p1;",
        lambda x, function=function: function(x).astype(np.float32),
    )
    for name, function in {
        "finite": np.isfinite,
        "infinite": np.isinf,
        "notanumber": np.isnan,
        "subnormal": lambda x: (np.abs(x) < 2.0**-126) & (x != 0),
    }.items()
}


def operands(function) -> int:
    if isinstance(function, np.ufunc):
        return function.nin
    return function.__code__.co_argcount - len(function.__defaults__ or ())


@pytest.mark.parametrize("name", CASES)
def test_on_float32(name):
    body, function = CASES[name]
    inputs = [floats(seed) for seed in range(operands(function))]
    with np.errstate(all="ignore"):
        expected = np.asarray(function(*inputs), np.float32)
    result = evaluate(body, *(x.view(np.uint32) for x in inputs)).view(np.float32)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    "body",
    ["add.rz.f32 %r0, %r1, %r1;", "cvt.rz.f16.f32 %h0, %r1;", "cvt.rm.f32.s32 %r0, %r1;"],
)
def test_other_roundings_are_refused_rather_than_approximated(body):
    with pytest.raises(PtxError, match="unsupported"):
        evaluate(body, floats(0).view(np.uint32))


#: What NaN becomes, of whatever type, and what lies beyond an integer type.
OUT_OF_RANGE = {
    "s32.f32": [0, 2**31 - 1, -(2**31)],
    "u32.f32": [0, 2**32 - 1, 0],
    "s64.f32": [-(2**63), 2**63 - 1, -(2**63)],
    "u64.f32": [2**63, 2**64 - 1, 0],
    "s32.f64": [-(2**31), 2**31 - 1, -(2**31)],
}


@pytest.mark.parametrize("types", OUT_OF_RANGE)
def test_floats_that_no_integer_holds(types):
    to, source = types.split(".")
    wide = "cvt.f64.f32 %d1, %r1;" * (source == "f64")
    register = "%d1" if source == "f64" else "%r1"
    target = "%d0" if to.endswith("64") else "%r0"
    x = np.array([np.nan, 1e30, -1e30], np.float32).view(np.uint32)
    out = np.uint64 if to.endswith("64") else np.uint32
    result = evaluate(f"{wide} cvt.rzi.{types} {target}, {register};", x, out=out)
    modulus = 1 << 8 * result.itemsize
    assert result.tolist() == [value % modulus for value in OUT_OF_RANGE[types]]


def test_a_fused_product_of_halves_is_rounded_once():
    """2050 + (1 + 2^-10) (1 - 2^-10) lies below the middle of 2050 and 2052 by 2^-20."""
    x, y, z = (
        np.array([value], np.float16).view(np.uint16) for value in (1 + 2**-10, 1 - 2**-10, 2050)
    )
    result = evaluate("fma.rn.f16 %h0, %h1, %h2, %h3;", x, y, z, out=np.uint16)
    assert result.view(np.float16)[0] == 2050
