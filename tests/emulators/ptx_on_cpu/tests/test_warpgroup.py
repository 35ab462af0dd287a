"""wgmma: products by descriptors and from registers, and what is not waited for."""

from __future__ import annotations

import numpy as np
import pytest

from ..interpreter import PtxError, bf16_to_float, float_to_bf16, run
from .test_tensor_core import Shape, fragments

N, BYTES = 32, 16384
D = "{" + ", ".join(f"%r{i}" for i in range(16, 32)) + "}"
A_SHAPE = Shape("", 16, 2)
FENCE, COMMIT = "wgmma.fence.sync.aligned;", "wgmma.commit_group.sync.aligned;"
WAIT = "wgmma.wait_group.sync.aligned 0;"


def execute(body: str, image: np.ndarray, a: np.ndarray, threads: int = 128, **how) -> np.ndarray:
    """Run a body with the image in shared memory and A's words in %r8 ...; return D."""
    out = np.full((threads, 16), np.nan, np.float32)
    clear = " ".join(f"mov.b32 %r{i}, 0;" for i in range(16, 32))
    stores = " ".join(f"st.global.b32 [%d3+{4 * i}], %r{16 + i};" for i in range(16))
    text = (
        ".version 8.0\n.target sm_90a\n.address_size 64\n"
        ".extern .shared .align 1024 .b8 smem[];\n"
        ".visible .entry k(.param .u64 p0, .param .u64 p1, .param .u64 p2)\n{\n"
        ".reg .b32 %r<48>; .reg .b64 %d<16>; .reg .pred %p<8>;\n"
        "ld.param.u64 %d1, [p0]; ld.param.u64 %d2, [p1]; ld.param.u64 %d3, [p2];"
        "mov.u32 %r1, %tid.x; mov.u32 %r2, 0;"
        "COPY: mad.lo.u32 %r3, %r1, 16, %r2; cvt.u64.u32 %d4, %r3; add.s64 %d4, %d1, %d4;"
        "ld.global.v4.b32 {%r4, %r5, %r6, %r7}, [%d4]; mov.u32 %r12, smem;"
        "add.u32 %r3, %r3, %r12; st.shared.v4.b32 [%r3], {%r4, %r5, %r6, %r7};"
        f"add.u32 %r2, %r2, {16 * threads}; setp.lt.u32 %p1, %r2, {BYTES}; @%p1 bra COPY;"
        "mad.wide.u32 %d2, %r1, 16, %d2; mad.wide.u32 %d3, %r1, 64, %d3;"
        "ld.global.v4.b32 {%r8, %r9, %r10, %r11}, [%d2];"
        f"fence.proxy.async; bar.sync 0; {clear} mov.pred %p2, -1;\n{body}\n{stores}\nret;\n}}\n"
    )
    run(text, "k", (1,), (threads,), [image, a, out], shared_bytes=BYTES, **how)
    return out


def matrix(out: np.ndarray) -> np.ndarray:
    """Return D (64, 32) from the registers of 128 threads."""
    result = np.zeros((64, N))
    for thread, row in enumerate(out):
        warp, lane = divmod(thread, 32)
        for i, value in enumerate(row):
            place = 16 * warp + lane // 4 + 8 * (i // 2 % 2), 8 * (i // 4) + lane % 4 * 2 + i % 2
            result[place] = value
    return result


def put(image: np.ndarray, x: np.ndarray, start: int, span: int, transposed: bool) -> int:
    """Write a matrix (rows, 16) into the image; return its descriptor."""
    leading, stride = (2048, 1024) if span else (128, 256)
    if transposed and span:
        leading, stride = 16 * span, 8 * span
    elif span:
        stride = 8 * span
    for row, k in np.ndindex(x.shape):
        if not span:
            outer, inner = (k, row) if transposed else (row, k)
            # pieces of 8 x 16 bytes: stride along the rows, leading along k
            place = row // 8 * stride + k // 8 * leading + outer % 8 * 16 + inner % 8 * 2
        elif transposed:
            place = row // (span // 2) * leading + k * span + row % (span // 2) * 2
        else:
            place = row * span + k * 2
        place += start
        mixed = place ^ ((place // 128) % (span // 16) * 16 if span else 0)
        image.view(np.uint16)[mixed // 2] = x[row, k]
    code = {0: 0, 128: 1, 64: 2, 32: 3}[span]
    return start >> 4 | leading >> 4 << 16 | stride >> 4 << 32 | code << 62


def product(
    a: int | str, b: int, *, keep: str = "%p2", a_t: int = 0, b_t: int = 0, kind: str = "bf16"
) -> str:
    first = a if isinstance(a, str) else "%d5"
    orders = f"{b_t}" if isinstance(a, str) else f"{a_t}, {b_t}"
    load = "" if isinstance(a, str) else f"mov.b64 %d5, {a};"
    return (
        f"{load} mov.b64 %d6, {b}; wgmma.mma_async.sync.aligned.m64n32k16.f32.{kind}.{kind} {D}, "
        f"{first}, %d6, {keep}, 1, 1, {orders};"
    )


REGISTERS = "{%r8, %r9, %r10, %r11}"


@pytest.fixture
def matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A (64, 16) and B (32, 16) as bf16, and A's words for each thread."""
    rng = np.random.default_rng(0)
    a, b = (float_to_bf16(rng.integers(-9, 10, (rows, 16))) for rows in (64, N))
    words = np.concatenate(
        [fragments(a[16 * w : 16 * w + 16], A_SHAPE.a, 8) for w in range(4)], axis=0
    )
    return a, b, np.ascontiguousarray(words)


def exact(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return bf16_to_float(a).astype(float) @ bf16_to_float(b).astype(float).T


@pytest.mark.parametrize("b_t", [0, 1])
@pytest.mark.parametrize("a_t", ["registers", 0, 1])
@pytest.mark.parametrize("span", [0, 32, 64, 128])
def test_products_from_every_layout(span, a_t, b_t, matrices):
    a, b, words = matrices
    image = np.zeros(BYTES, np.uint8)
    of_b = put(image, b, 0, span, bool(b_t))
    of_a: int | str = REGISTERS
    if a_t != "registers":
        of_a = put(image, a, 4096, span, bool(a_t))
    orders = {"b_t": b_t} if a_t == "registers" else {"a_t": a_t, "b_t": b_t}
    out = execute(f"{FENCE} {product(of_a, of_b, **orders)} {COMMIT} {WAIT}", image, words)
    np.testing.assert_array_equal(matrix(out), exact(a, b))


@pytest.fixture
def simple(matrices):
    """An image with B at 0, its descriptor, A's words and the product."""
    a, b, words = matrices
    image = np.zeros(BYTES, np.uint8)
    return image, put(image, b, 0, 128, False), words, exact(a, b)


CHAINS = {
    "in one group": ("{p} {p} {c} {w}", 2),
    "in two groups": ("{p} {c} {p} {c} {w}", 2),
    "a first one that forgets": ("{p} {c} {w} {first} {p} {c} {w}", 2),
    "only the older group is over": ("{p} {c} {p} {c} wgmma.wait_group.sync.aligned 1;", None),
    "no wait": ("{p} {c}", None),
    "no commit": ("{p} {w}", None),
}


@pytest.mark.parametrize("name", CHAINS)
def test_chains_of_products(name, simple):
    image, b, words, once = simple
    body, times = CHAINS[name]
    parts = {"p": product(REGISTERS, b), "first": product(REGISTERS, b, keep="0")}
    out = execute(FENCE + body.format(**parts, c=COMMIT, w=WAIT), image, words)
    expected = np.full((64, N), np.nan) if times is None else times * once
    np.testing.assert_array_equal(matrix(out), expected)


def test_shared_memory_is_read_when_the_product_is_waited_for(simple):
    image, b, words, once = simple
    overwrite = "mov.u32 %r2, smem; mov.b32 %r3, 0; st.shared.b32 [%r2], %r3;"
    body = f"{FENCE} {product(REGISTERS, b)} {COMMIT} {overwrite} {WAIT}"
    assert not np.array_equal(matrix(execute(body, image, words, race="off")), once)
    with pytest.raises(PtxError, match="race"):
        execute(body, image, words)


def test_registers_of_a_are_read_at_the_issue(simple):
    image, b, words, once = simple
    body = f"{FENCE} {product(REGISTERS, b)} {COMMIT} mov.b32 %r8, 0; {WAIT}"
    np.testing.assert_array_equal(matrix(execute(body, image, words)), once)


FAULTS = {
    "an accumulator is written": ("{p} {c} mov.b32 %r20, 0; {w}", "was written before the wait"),
    "a matrix outside": ("{outside} {c} {w}", "reaches byte .* of 16384"),
    "not by all warps": ("setp.lt.u32 %p1, %r1, 32; @%p1 bra E; {p} E: bar.sync 0;", "deadlock"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_found(name, simple):
    image, b, words, _ = simple
    body, message = FAULTS[name]
    parts = {"p": product(REGISTERS, b), "outside": product(REGISTERS, b + (BYTES >> 4))}
    with pytest.raises(PtxError, match=message):
        execute(body.format(**parts, c=COMMIT, w=WAIT), image, words)


def test_a_block_must_have_whole_warpgroups(simple):
    image, b, words, _ = simple
    with pytest.raises(PtxError, match="not whole warpgroups"):
        execute(product(REGISTERS, b), image, words, threads=64)


def test_unfinished_tiles_race(simple):
    image, b, words, _ = simple
    text = f"{product(REGISTERS, b)} {COMMIT} {WAIT}"
    late = "mov.u32 %r2, smem; mov.b32 %r3, 0x3f80; st.shared.b32 [%r2], %r3;"
    with pytest.raises(PtxError, match="read after write without a barrier"):
        execute(f"{late} {text}", image, words)
