"""Loads, stores and atomics; what is out of bounds, misaligned or never written shows."""

from __future__ import annotations

import numpy as np
import pytest

from ..interpreter import Pointer, PtxError, run
from .snippets import execute, kernel

OWN_WORD = "mul.wide.u32 %d1, %t, 4; add.s64 %d1, %in0, %d1;"  # &array0[thread]
OWN_SHARED = "mov.u32 %r1, smem; shl.b32 %r2, %t, 2; add.u32 %r2, %r1, %r2;"


def test_vectors_are_loaded_and_stored_in_order():
    x, y = np.arange(128, dtype=np.uint32), np.zeros(128, np.uint32)
    execute(
        "mul.wide.u32 %d1, %t, 16; add.s64 %d2, %in0, %d1; add.s64 %d3, %in1, %d1;"
        "ld.global.v4.b32 {%r1, %r2, %r3, %r4}, [%d2];"
        "st.global.v2.b32 [%d3], {%r4, %r3}; st.global.v2.b32 [%d3+8], {%r2, %r1};",
        x, y,
    )  # fmt: skip
    np.testing.assert_array_equal(y.reshape(32, 4), x.reshape(32, 4)[:, ::-1])


def test_short_loads_are_extended():
    x, y = np.array([5, -7, 127, -128] * 8, np.int8), np.zeros(32, np.int32)
    execute(
        "cvt.u64.u32 %d1, %t; add.s64 %d2, %in0, %d1; mul.wide.u32 %d3, %t, 4;"
        "add.s64 %d3, %in1, %d3; ld.global.s8 %r1, [%d2]; st.global.u32 [%d3], %r1;",
        x, y,
    )  # fmt: skip
    np.testing.assert_array_equal(y, x)


def test_structures_are_passed_by_value():
    text = (
        ".version 8.0\n.target sm_80\n.visible .entry k(.param .u64 p, .param .align 8 .b8 s[16], "
        ".param .f32 f)\n{ .reg .b32 %r<4>; .reg .b64 %d<4>; ld.param.u64 %d1, [p];"
        "ld.param.u64 %d2, [s]; ld.param.b32 %r1, [s+12]; ld.param.f32 %r2, [f];"
        "st.global.b64 [%d1], %d2; st.global.v2.b32 [%d1+8], {%r1, %r2}; ret; }"
    )
    out = np.zeros(4, np.uint32)
    run(text, "k", (1,), (1,), [out, np.array([1, 2, 3, 4], np.uint32).tobytes(), 1.5])
    assert out.tolist() == [1, 2, 4, 0x3FC00000]


def test_constants_of_the_module_are_readable():
    text = kernel(
        "ld.param.u64 %d1, [p0]; ld.const.b32 %r1, [table+4]; st.global.b32 [%d1], %r1;", 1
    )
    text = text.replace(".extern", ".const .align 4 .u32 table[3] = {10, 20, 30};\n.extern")
    out = np.zeros(1, np.uint32)
    run(text, "k", (1,), (1,), [out])
    assert out[0] == 20


ATOMICS = {
    "add.u32": lambda x: x.sum(),
    "max.u32": lambda x: x.max(),
    "min.u32": lambda x: 0,
    "or.b32": lambda x: np.bitwise_or.reduce(x),
    "exch.b32": lambda x: x[-1],
}


@pytest.mark.parametrize("operation", ATOMICS)
def test_atomics_count_every_thread(operation):
    x, total = np.arange(3, 35, dtype=np.uint32), np.zeros(1, np.uint32)
    execute(f"{OWN_WORD} ld.global.u32 %r1, [%d1]; red.global.{operation} [%in1], %r1;", x, total)
    assert total[0] == ATOMICS[operation](x)


def test_an_atomic_returns_what_was_there():
    out = np.zeros(32, np.uint32)
    execute(
        f"{OWN_WORD} mov.u32 %r3, smem; setp.eq.u32 %p1, %t, 0; @%p1 st.shared.u32 [%r3], 100;"
        "bar.sync 0; atom.shared.add.u32 %r1, [%r3], 2; st.global.u32 [%d1], %r1;",
        out, shared_bytes=4,
    )  # fmt: skip
    np.testing.assert_array_equal(out, 100 + 2 * np.arange(32))


def test_local_memory_belongs_to_each_thread():
    out = np.zeros(32, np.uint32)
    execute(
        f".local .align 8 .b8 depot[16]; {OWN_WORD} mov.u64 %d2, depot; cvta.local.u64 %d3, %d2;"
        "st.u32 [%d3+4], %t; ld.local.u32 %r1, [%d2+4]; st.global.u32 [%d1], %r1;",
        out,
    )  # fmt: skip
    np.testing.assert_array_equal(out, np.arange(32))


def test_what_nobody_wrote_is_nan():
    out = np.zeros(32, np.float32)
    execute(
        f"{OWN_WORD} {OWN_SHARED} ld.shared.b32 %r3, [%r2]; st.global.b32 [%d1], %r3;",
        out, shared_bytes=128,
    )  # fmt: skip
    assert np.isnan(out).all()


BAD = {
    "one past the end": (
        f"{OWN_WORD} ld.global.u32 %r1, [%d1+4];",
        r"global access out of bounds at byte 128 of allocation 0, which has 128 bytes "
        r"\[thread 31, block",
    ),
    "before the start": (f"{OWN_WORD} st.global.u32 [%d1+-4], %t;", "out of bounds at byte -4 of"),
    "half inside": ("ld.global.v4.b32 {%r1, %r2, %r3, %r4}, [%in0+120];", "misaligned 16-byte"),
    "misaligned": ("ld.global.u32 %r1, [%in0+2];", r"misaligned 4-byte access .*PTX line \d+"),
    "behind shared memory": (
        "mov.u32 %r1, smem; st.shared.u32 [%r1+64], %t;",
        "shared access out of bounds at byte 64 of 64",
    ),
    "a null pointer": ("mov.u64 %d1, 0; ld.global.u32 %r1, [%d1];", "out of bounds"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_access_is_refused(name):
    body, message = BAD[name]
    with pytest.raises(PtxError, match=message):
        execute(body, np.zeros(32, np.uint32), shared_bytes=64)


def test_shared_variables_of_the_module_are_laid_out_in_the_kernels_that_use_them():
    text = kernel(
        "ld.param.u64 %d1, [p0]; st.shared.u32 [first+4], 7; st.shared.u64 [second], 5;"
        "mov.u32 %r1, second; ld.shared.u32 %r2, [first+4]; st.global.v2.b32 [%d1], {%r1, %r2};",
        1,
    ).replace(
        ".extern",
        ".shared .align 4 .b8 first[8];\n.shared .align 4 .b8 unused[800];\n"
        ".weak .shared .align 8 .u64 second;\n.extern",
        1,
    )
    out = np.zeros(2, np.uint32)
    run(text, "k", (1,), (1,), [out])
    assert out.tolist() == [8, 7]
    with pytest.raises(PtxError, match="shared access out of bounds at byte 16 of 16"):
        run(text.replace("[first+4], 7", "[first+16], 7"), "k", (1,), (1,), [out])


def test_an_array_that_is_passed_twice_is_one_allocation():
    out = np.zeros(4, np.uint32)
    text = kernel(
        "ld.param.u64 %d1, [p0]; ld.param.u64 %d2, [p1]; ld.param.u64 %d3, [p2]; st.global.u32 "
        "[%d1], 7; ld.global.u32 %r1, [%d2]; st.global.u32 [%d3+4], %r1;",
        3,
    )
    run(text, "k", (1,), (1,), [out, out, Pointer(out, 8)])
    assert out.tolist() == [7, 0, 0, 7]


def test_an_array_with_gaps_is_refused():
    with pytest.raises(ValueError, match=r"strides \(8,\) is not contiguous; pass a Pointer"):
        run(kernel("", 1), "k", (1,), (1,), [np.zeros(8, np.uint32)[::2]])
