"""mma.sync, ldmatrix and stmatrix move and multiply what the PTX manual's fragment tables say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from ..interpreter import PtxError, float_to_bf16
from .snippets import execute


@dataclass(frozen=True)
class Shape:
    """An mma.m16n8kK: its types, and where element ``i`` of a lane's fragments lies."""

    name: str
    K: int
    per_word: int

    def a(self, lane: int, i: int) -> tuple[int, int]:
        group, thread, per = lane >> 2, lane % 4, self.per_word
        word = i // per
        return group + 8 * (word % 2), thread * per + i % per + 4 * per * (word // 2)

    def b(self, lane: int, i: int) -> tuple[int, int]:
        group, thread, per = lane >> 2, lane % 4, self.per_word
        return thread * per + i % per + 4 * per * (i // per), group

    @staticmethod
    def c(lane: int, i: int) -> tuple[int, int]:
        return (lane >> 2) + 8 * (i // 2), lane % 4 * 2 + i % 2


SHAPES = {
    "f16 k16": Shape("m16n8k16.row.col.f32.f16.f16.f32", 16, 2),
    "f16 k8": Shape("m16n8k8.row.col.f32.f16.f16.f32", 8, 2),
    "bf16": Shape("m16n8k16.row.col.f32.bf16.bf16.f32", 16, 2),
    "tf32": Shape("m16n8k8.row.col.f32.tf32.tf32.f32", 8, 1),
    "tf32 k4": Shape("m16n8k4.row.col.f32.tf32.tf32.f32", 4, 1),
    "s8": Shape("m16n8k32.row.col.s32.s8.s8.s32", 32, 4),
}


def stored(values: np.ndarray, shape: Shape) -> np.ndarray:
    """Return small integers in the type of A and B."""
    if shape.per_word == 4:
        return values.astype(np.int8)
    if shape.per_word == 1:
        return values.astype(np.float32)
    return float_to_bf16(values) if ".bf16." in shape.name else values.astype(np.float16)


def fragments(matrix: np.ndarray, place, count: int) -> np.ndarray:
    """Return the words of all 32 lanes, (32, words)."""
    rows = [[matrix[place(lane, i)] for i in range(count)] for lane in range(32)]
    return np.array(rows, matrix.dtype).view(np.uint32)


@pytest.mark.parametrize("name", SHAPES)
def test_mma_multiplies_and_adds(name):
    shape = SHAPES[name]
    rng = np.random.default_rng(0)
    A, B = rng.integers(-9, 10, (16, shape.K)), rng.integers(-9, 10, (shape.K, 8))
    C = rng.integers(-9, 10, (16, 8))
    result = np.int32 if shape.per_word == 4 else np.float32
    a = fragments(stored(A, shape), shape.a, 16 * shape.K // 32)
    b = fragments(stored(B, shape), shape.b, 8 * shape.K // 32)
    c = fragments(C.astype(result), shape.c, 4)
    words = np.concatenate([a, b, c], axis=1)
    n_a, n_b = a.shape[1], b.shape[1]
    registers = [f"%r{i}" for i in range(words.shape[1])]
    loads = " ".join(f"ld.global.b32 %r{i}, [%d1+{4 * i}];" for i in range(len(registers)))
    operands = ", ".join(
        "{" + ", ".join(part) + "}"
        for part in (registers[:n_a], registers[n_a : n_a + n_b], registers[n_a + n_b :])
    )
    out = np.zeros((32, 4), np.uint32)
    execute(
        f"mul.wide.u32 %d1, %t, {4 * len(registers)}; add.s64 %d1, %in0, %d1; {loads}"
        f"mma.sync.aligned.{shape.name} {{%r40, %r41, %r42, %r43}}, {operands};"
        "mul.wide.u32 %d2, %t, 16; add.s64 %d2, %in1, %d2;"
        "st.global.v4.b32 [%d2], {%r40, %r41, %r42, %r43};",
        words, out,
    )  # fmt: skip
    D = np.zeros((16, 8))
    for lane in range(32):
        for i, value in enumerate(out[lane].view(result)):
            D[shape.c(lane, i)] = value
    np.testing.assert_array_equal(D, A @ B + C)


def test_mma_with_a_half_accumulator():
    out = np.zeros((32, 2), np.uint32)
    execute(
        "mov.b32 %r1, 0x40003c00; mov.b32 %r2, 0x44004200;"  # (1, 2) and (3, 4) in fp16
        "mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%r5, %r6}, {%r1, %r1}, {%r2}, "
        "{%r1, %r2}; mul.wide.u32 %d1, %t, 8; add.s64 %d1, %in0, %d1;"
        "st.global.v2.b32 [%d1], {%r5, %r6};",
        out,
    )  # fmt: skip
    halves = out.view(np.float16).astype(int)
    np.testing.assert_array_equal(halves, np.tile([4 * 11 + 1, 46, 47, 48], (32, 1)))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_ldmatrix_spreads_rows_over_lanes(count, transposed):
    matrices = np.arange(count * 64, dtype=np.uint16).reshape(count, 8, 8)
    out = np.zeros((32, count), np.uint32)
    names = ", ".join(f"%r{10 + i}" for i in range(count))
    stores = " ".join(f"st.global.b32 [%d2+{4 * i}], %r{10 + i};" for i in range(count))
    execute(
        "mov.u32 %r1, smem; shl.b32 %r2, %t, 4; add.u32 %r2, %r1, %r2;"
        f"setp.ge.u32 %p1, %t, {8 * count}; @%p1 bra FILLED;"
        "mul.wide.u32 %d1, %t, 16; add.s64 %d1, %in0, %d1;"
        "ld.global.v4.b32 {%r3, %r4, %r5, %r6}, [%d1];"
        "st.shared.v4.b32 [%r2], {%r3, %r4, %r5, %r6}; FILLED: bar.sync 0;"
        f"ldmatrix.sync.aligned.m8n8.x{count}{'.trans' * transposed}.shared.b16 {{{names}}}, [%r2];"
        f"mul.wide.u32 %d2, %t, {4 * count}; add.s64 %d2, %in1, %d2; {stores}",
        matrices, out, shared_bytes=512,
    )  # fmt: skip
    seen = matrices.swapaxes(1, 2) if transposed else matrices
    expected = np.ascontiguousarray(seen).view(np.uint32).reshape(count, 32).T
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_stmatrix_stores_what_ldmatrix_loads(count, transposed):
    matrices = np.arange(count * 64, dtype=np.uint16).reshape(count, 8, 8)
    fragments = np.ascontiguousarray(matrices.view(np.uint32).reshape(count, 32).T)
    out = np.zeros((count, 8, 8), np.uint16)
    names = ", ".join(f"%r{10 + i}" for i in range(count))
    loads = " ".join(f"ld.global.b32 %r{10 + i}, [%d2+{4 * i}];" for i in range(count))
    execute(
        "mov.u32 %r1, smem; shl.b32 %r2, %t, 4; add.u32 %r2, %r1, %r2;"
        f"mul.wide.u32 %d2, %t, {4 * count}; add.s64 %d2, %in0, %d2; {loads}"
        f"stmatrix.sync.aligned.m8n8.x{count}{'.trans' * transposed}.shared.b16 [%r2], {{{names}}};"
        f"bar.sync 0; setp.ge.u32 %p1, %t, {8 * count}; @%p1 bra STORED;"
        "ld.shared.v4.b32 {%r3, %r4, %r5, %r6}, [%r2];"
        "mul.wide.u32 %d1, %t, 16; add.s64 %d1, %in1, %d1;"
        "st.global.v4.b32 [%d1], {%r3, %r4, %r5, %r6}; STORED:",
        fragments, out, shared_bytes=512,
    )  # fmt: skip
    np.testing.assert_array_equal(out, matrices.swapaxes(1, 2) if transposed else matrices)


#: Warp 2 of a block does an mma of ones, fetched by ldmatrix; the others jump over it.
ONE_WARP = (
    "mov.u32 %r1, smem; shl.b32 %r2, %t, 4; add.u32 %r2, %r1, %r2; mov.b32 %r3, 0x3c003c00;"
    "st.shared.v4.b32 [%r2], {%r3, %r3, %r3, %r3}; bar.sync 0; mov.b32 %r20, 0;"
    "shr.u32 %r4, %t, 5; setp.ne.u32 %p1, %r4, 2; @%p1 bra SKIP;"
    "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r5, %r6, %r7, %r8}, [%r2];"
    "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%r20, %r21, %r22, %r23}, "
    "{%r5, %r6, %r7, %r8}, {%r5, %r6}, {0f3F800000, 0f00000000, 0f00000000, 0f00000000};"
    "SKIP: bar.sync 0; mul.wide.u32 %d1, %t, 4; add.s64 %d1, %in0, %d1; st.global.b32 [%d1], %r20;"
)


def test_warps_may_take_different_ways():
    out = np.full(128, np.nan, np.float32)
    execute(ONE_WARP, out, threads=128, shared_bytes=2048)
    np.testing.assert_array_equal(out.reshape(4, 32), np.array([0, 0, 17, 0])[:, None] + [0] * 32)


def test_lanes_may_not():
    some_lanes = ONE_WARP.replace("setp.ne.u32 %p1, %r4, 2", "setp.lt.u32 %p1, %t, 80")
    with pytest.raises(PtxError, match="deadlock"):
        execute(some_lanes, np.zeros(128, np.float32), threads=128, shared_bytes=2048)


def test_a_block_must_have_whole_warps():
    with pytest.raises(PtxError, match=r"unsupported: ldmatrix.*48 threads, not whole warps"):
        execute(ONE_WARP, np.zeros(48, np.float32), threads=48, shared_bytes=2048)
