"""Integer instructions give what Python's integers give."""

from __future__ import annotations

import numpy as np
import pytest

from .snippets import evaluate, integers

MASK = 0xFFFFFFFF


def signed(x: int) -> int:
    return x - (1 << 32) if x >> 31 else x


def towards_zero(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def prmt(a: int, b: int, choice: int) -> int:
    both, result = a | b << 32, 0
    for i in range(4):
        nibble = choice >> 4 * i & 15
        byte = both >> 8 * (nibble & 7) & 255
        result |= ((255 if byte & 128 else 0) if nibble & 8 else byte) << 8 * i
    return result


def lop3(table: int):
    def function(a: int, b: int, c: int) -> int:
        rows = ((a >> i & 1) << 2 | (b >> i & 1) << 1 | (c >> i & 1) for i in range(32))
        return sum((table >> row & 1) << i for i, row in enumerate(rows))

    return function


def bfe_unsigned(a: int, start: int, count: int) -> int:
    return (a >> (start & 255)) & ((1 << (count & 255)) - 1)


def bfe_signed(a: int, start: int, count: int) -> int:
    start, count = start & 255, count & 255
    if count == 0:
        return 0
    sign = a >> min(start + count - 1, 31) & 1
    picked = [(a >> (start + i) & 1) if i < count and start + i < 32 else sign for i in range(32)]
    return sum(bit << i for i, bit in enumerate(picked))


def bfi(a: int, b: int, start: int, count: int) -> int:
    start, count = start & 255, count & 255
    for i in range(min(count, 32)):
        if start + i < 32:
            b = (b & ~(1 << (start + i))) | ((a >> i & 1) << (start + i))
    return b


#: Instructions with %r1, %r2, ... as sources and %r0 as target, and the same in Python.
CASES = {
    "add": ("add.u32 %r0, %r1, %r2;", lambda a, b: a + b),
    "sub": ("sub.s32 %r0, %r1, %r2;", lambda a, b: a - b),
    "min.s32": ("min.s32 %r0, %r1, %r2;", lambda a, b: min(signed(a), signed(b))),
    "max.s32": ("max.s32 %r0, %r1, %r2;", lambda a, b: max(signed(a), signed(b))),
    "min.u32": ("min.u32 %r0, %r1, %r2;", min),
    "max.u32": ("max.u32 %r0, %r1, %r2;", max),
    "mul.lo": ("mul.lo.s32 %r0, %r1, %r2;", lambda a, b: a * b),
    "mul.hi.u32": ("mul.hi.u32 %r0, %r1, %r2;", lambda a, b: a * b >> 32),
    "mul.hi.s32": ("mul.hi.s32 %r0, %r1, %r2;", lambda a, b: signed(a) * signed(b) >> 32),
    "mad.lo": ("mad.lo.s32 %r0, %r1, %r2, %r3;", lambda a, b, c: a * b + c),
    "mad.hi": ("mad.hi.u32 %r0, %r1, %r2, %r3;", lambda a, b, c: (a * b >> 32) + c),
    "mul24": ("mul24.lo.u32 %r0, %r1, %r2;", lambda a, b: (a & 0xFFFFFF) * (b & 0xFFFFFF)),
    "div.u32": ("div.u32 %r0, %r1, %r2;", lambda a, b: a // b if b else MASK),
    "rem.u32": ("rem.u32 %r0, %r1, %r2;", lambda a, b: a % b if b else a),
    "div.s32": (
        "or.b32 %r2, %r2, 2; div.s32 %r0, %r1, %r2;",
        lambda a, b: towards_zero(signed(a), signed(b | 2)),
    ),
    "rem.s32": (
        "or.b32 %r2, %r2, 2; rem.s32 %r0, %r1, %r2;",
        lambda a, b: signed(a) - signed(b | 2) * towards_zero(signed(a), signed(b | 2)),
    ),
    "carry": (
        "add.cc.u32 %r5, %r1, %r3; addc.u32 %r0, %r2, %r4;",
        lambda a, b, c, d: ((b << 32 | a) + (d << 32 | c)) >> 32,
    ),
    "borrow": (
        "sub.cc.u32 %r5, %r1, %r3; subc.u32 %r0, %r2, %r4;",
        lambda a, b, c, d: ((b << 32 | a) - (d << 32 | c)) >> 32,
    ),
    "mad carry": (
        "mad.lo.cc.u32 %r5, %r1, %r2, %r3; madc.hi.u32 %r0, %r1, %r2, 0;",
        lambda a, b, c: (a * b + c) >> 32,
    ),
    "and": ("and.b32 %r0, %r1, %r2;", lambda a, b: a & b),
    "xor": ("xor.b32 %r0, %r1, %r2;", lambda a, b: a ^ b),
    "not": ("not.b32 %r0, %r1;", lambda a: ~a),
    "cnot": ("cnot.b32 %r0, %r1;", lambda a: int(a == 0)),
    "shl": ("shl.b32 %r0, %r1, %r2;", lambda a, b: a << b if b < 32 else 0),
    "shl by 5": ("shl.b32 %r0, %r1, 5;", lambda a: a << 5),
    "shr.u32": ("shr.u32 %r0, %r1, %r2;", lambda a, b: a >> b if b < 32 else 0),
    "shr.s32": ("shr.s32 %r0, %r1, %r2;", lambda a, b: signed(a) >> min(b, 31)),
    "shf.l.wrap": (
        "shf.l.wrap.b32 %r0, %r1, %r2, %r3;",
        lambda a, b, n: ((b << 32 | a) << (n & 31)) >> 32,
    ),
    "shf.r.wrap": (
        "shf.r.wrap.b32 %r0, %r1, %r2, %r3;",
        lambda a, b, n: (b << 32 | a) >> (n & 31),
    ),
    "shf.l.clamp": (
        "shf.l.clamp.b32 %r0, %r1, %r2, %r3;",
        lambda a, b, n: ((b << 32 | a) << min(n, 32)) >> 32,
    ),
    "shf.r.clamp": (
        "shf.r.clamp.b32 %r0, %r1, %r2, %r3;",
        lambda a, b, n: (b << 32 | a) >> min(n, 32),
    ),
    "prmt": ("prmt.b32 %r0, %r1, %r2, %r3;", prmt),
    "bfe.u32": ("bfe.u32 %r0, %r1, %r2, %r3;", bfe_unsigned),
    "bfe.s32": ("bfe.s32 %r0, %r1, %r2, %r3;", bfe_signed),
    "bfi": ("bfi.b32 %r0, %r1, %r2, %r3, %r4;", bfi),
    "popc": ("popc.b32 %r0, %r1;", int.bit_count),
    "clz": ("clz.b32 %r0, %r1;", lambda a: 32 - a.bit_length()),
    "brev": ("brev.b32 %r0, %r1;", lambda a: int(f"{a:032b}"[::-1], 2)),
    "bfind": ("bfind.u32 %r0, %r1;", lambda a: a.bit_length() - 1),
    "selp": (
        "setp.lt.u32 %p1|%p2, %r1, %r2; selp.b32 %r0, 1, 2, %p2;",
        lambda a, b: 2 if a < b else 1,
    ),
    "setp.and": (
        "setp.gt.s32 %p1, %r1, 5; setp.lt.and.s32 %p2, %r2, %r1, !%p1; selp.b32 %r0, 1, 0, %p2;",
        lambda a, b: int(signed(b) < signed(a) and not signed(a) > 5),
    ),
    "set": ("set.ge.u32.s32 %r0, %r1, %r2;", lambda a, b: -int(signed(a) >= signed(b))),
    "slct": ("slct.b32.s32 %r0, %r1, %r2, %r3;", lambda a, b, c: a if signed(c) >= 0 else b),
    "guard": (
        "mov.u32 %r0, 7; setp.eq.u32 %p1, %r1, 0; @!%p1 add.u32 %r0, %r0, %r1;",
        lambda a: 7 + a,
    ),
    "vectors and scopes": (
        "{ .reg .b16 %lo, %hi; mov.b32 {%lo, %hi}, %r1; mov.b32 %r0, {%hi, %lo}; }",
        lambda a: a >> 16 | a << 16,
    ),
    "cvt.s32.s8": ("cvt.s32.s8 %r0, %r1;", lambda a: (a & 255) - (256 if a & 128 else 0)),
    "cvt.sat.s8": (
        "cvt.sat.s8.s32 %h1, %r1; cvt.s32.s16 %r0, %h1;",
        lambda a: max(-128, min(127, signed(a))),
    ),
    "cvt.u8": ("cvt.u8.u32 %h1, %r1; cvt.u32.u16 %r0, %h1;", lambda a: a & 255),
}
CASES |= {
    f"lop3 {table:#x}": (f"lop3.b32 %r0, %r1, %r2, %r3, {table};", lop3(table))
    for table in (0xE8, 0x96, 0xF8, 0x2A)
}
CASES |= {
    f"bfe.s32 {start} {count}": (
        f"bfe.s32 %r0, %r1, {start}, {count};",
        lambda a, start=start, count=count: bfe_signed(a, start, count),
    )
    for start, count in ((3, 1), (0, 8), (24, 8), (31, 1))
}


@pytest.mark.parametrize("name", CASES)
def test_on_32_bits(name):
    body, function = CASES[name]
    operands = next(n for n in (4, 3, 2, 1) if f"%r{n}" in body)
    inputs = [integers(seed) for seed in range(operands)]
    expected = [function(*map(int, row)) & MASK for row in zip(*inputs, strict=True)]
    np.testing.assert_array_equal(evaluate(body, *inputs), np.array(expected, np.uint32))


WIDE = {
    "mul.wide.s32": ("mul.wide.s32 %d0, %r1, %r2;", lambda a, b: signed(a) * signed(b)),
    "mad.wide.u32": (
        "cvt.u64.u32 %d1, %r2; mad.wide.u32 %d0, %r1, %r2, %d1;",
        lambda a, b: a * b + b,
    ),
    "mul.hi.u64": (
        "mov.b64 %d1, {%r1, %r2}; mov.b64 %d2, {%r2, %r1}; mul.hi.u64 %d0, %d1, %d2;",
        lambda a, b: (b << 32 | a) * (a << 32 | b) >> 64,
    ),
    "div.s64": (
        "mov.b64 %d1, {%r1, %r2}; cvt.s64.s32 %d2, %r1; or.b64 %d2, %d2, 2; "
        "div.s64 %d0, %d1, %d2;",
        lambda a, b: towards_zero(
            (b << 32 | a) - (1 << 64 if b >> 31 else 0),
            signed(a | 2),
        ),
    ),
    "cvt.s64.s16": (
        "cvt.u16.u32 %h1, %r1; cvt.s64.s16 %d0, %h1; add.s64 %d0, %d0, 0;",
        lambda a, b: (a & 0xFFFF) - (0x10000 if a & 0x8000 else 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WIDE)
def test_on_64_bits(name):
    body, function = WIDE[name]
    inputs = [integers(1), integers(2)]
    expected = [function(int(a), int(b)) & ((1 << 64) - 1) for a, b in zip(*inputs, strict=True)]
    result = evaluate(body, *inputs, out=np.uint64)
    np.testing.assert_array_equal(result, np.array(expected, np.uint64))
