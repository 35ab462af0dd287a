"""mbarriers, barriers of some warps, and tensor copies that land when they are waited for."""

from __future__ import annotations

import numpy as np
import pytest

from ..interpreter import Pointer, PtxError, TensorMap, run

ORDERS = ["first", "last"]
WAIT = "mbarrier.try_wait.parity.shared::cta.b64"


def kernel(body: str, parameters: str) -> str:
    return (
        ".version 8.0\n.target sm_90a\n.address_size 64\n"
        ".extern .shared .align 1024 .b8 smem[];\n"
        f".visible .entry k({parameters})\n{{\n"
        ".reg .b32 %r<48>; .reg .b64 %d<16>; .reg .pred %p<8>;\n"
        "mov.u32 %r1, %tid.x; setp.eq.u32 %p1, %r1, 0; mov.u32 %r2, smem; shr.u32 %r3, %r1, 5;\n"
        f"{body}\nret;\n}}\n"
    )


def waits(address: str, parity: str) -> str:
    name = f"W{abs(hash((address, parity))) % 10**8}"
    return f"{{ .reg .pred done; {name}: {WAIT} done, [{address}], {parity}; @!done bra {name}; }}"


# ---- A ring of two stages: warp 0 writes numbers, warp 1 adds them up ----

RING = """
add.u32 %r4, %r2, 1024;
@%p1 mbarrier.init.shared::cta.b64 [%r4], 32;
@%p1 mbarrier.init.shared::cta.b64 [%r4+8], 32;
@%p1 mbarrier.init.shared::cta.b64 [%r4+16], 32;
@%p1 mbarrier.init.shared::cta.b64 [%r4+24], 32;
bar.sync 0;
mov.u32 %r5, 0; mov.u32 %r6, 0; and.b32 %r7, %r1, 31; shl.b32 %r7, %r7, 2; add.u32 %r7, %r7, %r2;
setp.eq.u32 %p2, %r3, 0;
@%p2 bra PRODUCE;
CONSUME:
  and.b32 %r8, %r5, 1; shr.u32 %r9, %r5, 1; and.b32 %r9, %r9, 1;
  mad.lo.u32 %r10, %r8, 8, %r4; mad.lo.u32 %r11, %r8, 128, %r7;
  FULL: mbarrier.try_wait.parity.shared::cta.b64 %p3, [%r10], %r9; @!%p3 bra FULL;
  ld.shared.u32 %r12, [%r11]; add.u32 %r6, %r6, %r12;
  mbarrier.arrive.shared::cta.b64 _, [%r10+16];
  add.u32 %r5, %r5, 1; setp.lt.u32 %p4, %r5, 5; @%p4 bra CONSUME;
ld.param.u64 %d1, [p0]; cvt.u64.u32 %d2, %r7; sub.u32 %r7, %r7, %r2; cvt.u64.u32 %d2, %r7;
add.s64 %d1, %d1, %d2; st.global.u32 [%d1], %r6;
ret;
PRODUCE:
  and.b32 %r8, %r5, 1; shr.u32 %r9, %r5, 1; and.b32 %r9, %r9, 1; xor.b32 %r9, %r9, 1;
  mad.lo.u32 %r10, %r8, 8, %r4; mad.lo.u32 %r11, %r8, 128, %r7;
  EMPTY: mbarrier.try_wait.parity.shared::cta.b64 %p3, [%r10+16], %r9; @!%p3 bra EMPTY;
  add.u32 %r12, %r5, 10; st.shared.u32 [%r11], %r12;
  mbarrier.arrive.shared::cta.b64 _, [%r10];
  add.u32 %r5, %r5, 1; setp.lt.u32 %p4, %r5, 5; @%p4 bra PRODUCE;
"""
FULL_WAIT = "FULL: mbarrier.try_wait.parity.shared::cta.b64 %p3, [%r10], %r9; @!%p3 bra FULL;"
EMPTY_WAIT = "EMPTY: mbarrier.try_wait.parity.shared::cta.b64 %p3, [%r10+16], %r9; @!%p3 bra EMPTY;"


def ring(text: str, **how) -> np.ndarray:
    out = np.zeros(32, np.uint32)
    run(kernel(text, ".param .u64 p0"), "k", (1,), (64,), [out], shared_bytes=2048, **how)
    return out


@pytest.mark.parametrize("order", ORDERS)
def test_a_ring(order):
    np.testing.assert_array_equal(ring(RING, order=order), np.full(32, 60))


@pytest.mark.parametrize("wait", [FULL_WAIT, EMPTY_WAIT])
def test_a_ring_without_a_wait_is_refused_in_some_order(wait):
    text = RING.replace(wait, "")
    assert text != RING
    messages = []
    for order in ORDERS:
        try:
            ring(text, order=order)
        except PtxError as error:
            messages.append(str(error))
    # Who goes on too early races, or is a phase ahead of the others for ever.
    assert any("race" in message or "deadlock" in message for message in messages)


@pytest.mark.parametrize("wait", [FULL_WAIT, EMPTY_WAIT])
def test_it_gives_wrong_sums_where_races_are_not_looked_for(wait):
    wrong = 0
    for order in ORDERS:
        try:
            wrong += bool((ring(RING.replace(wait, ""), race="off", order=order) != 60).any())
        except PtxError:
            wrong += 1
    assert wrong


@pytest.mark.parametrize("order", ORDERS)
def test_a_deadlock_names_the_places(order):
    text = RING.replace("mbarrier.arrive.shared::cta.b64 _, [%r10+16];", "")
    message = "deadlock.*32 threads at mbarrier.try_wait.*32 threads at mbarrier.try_wait"
    with pytest.raises(PtxError, match=message):
        ring(text, order=order)


BAD = {
    "an arrival too many": ("[%r2], 64; bar.sync 0; {arrive}", "arrivals at an mbarrier"),
    "no initialisation": ("[%r2], 64; bar.sync 0; {other}", "no mbarrier was initialised"),
    "an odd place": ("[%r2+4], 64;", "misaligned"),
    "a place outside": ("[%r2+2048], 64;", "out of bounds"),
    "no arrivals": ("[%r2], 0;", "an mbarrier of 0 arrivals"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_mbarriers(name):
    body, message = BAD[name]
    body = body.format(
        arrive="mbarrier.arrive.shared::cta.b64 _, [%r2], 65;",
        other="mbarrier.arrive.shared::cta.b64 _, [%r2+8];",
    )
    with pytest.raises(PtxError, match=message):
        ring(f"@%p1 mbarrier.init.shared::cta.b64 {body}")


def test_phases_by_their_state_and_tests_that_do_not_wait():
    out = ring(
        "@%p1 mbarrier.init.shared::cta.b64 [%r2], 64; bar.sync 0;"
        "mbarrier.test_wait.parity.shared::cta.b64 %p2, [%r2], 1; selp.b32 %r4, 1, 0, %p2;"
        "mbarrier.test_wait.parity.shared::cta.b64 %p2, [%r2], 0; selp.b32 %r5, 2, 0, %p2;"
        "mbarrier.arrive.shared::cta.b64 %d3, [%r2];"
        "AGAIN: mbarrier.try_wait.shared::cta.b64 %p2, [%r2], %d3; @!%p2 bra AGAIN;"
        "mbarrier.test_wait.parity.shared::cta.b64 %p2, [%r2], 0; selp.b32 %r6, 4, 0, %p2;"
        "add.u32 %r4, %r4, %r5; add.u32 %r4, %r4, %r6; setp.ge.u32 %p3, %r1, 32; @%p3 ret;"
        "ld.param.u64 %d1, [p0]; mad.wide.u32 %d1, %r1, 4, %d1; st.global.u32 [%d1], %r4;"
    )
    np.testing.assert_array_equal(out, np.full(32, 5))


# ---- Barriers of some warps ----

#: Warp 2 reads what warps 0 and 1 wrote; they only arrive.
HANDED_OVER = """
setp.eq.u32 %p2, %r3, 2; @%p2 bra READ;
mad.lo.u32 %r4, %r1, 4, %r2; st.shared.u32 [%r4], %r1;
bar.arrive 3, 96;
ret;
READ: bar.sync 3, 96;
sub.u32 %r5, %r1, 32; mad.lo.u32 %r4, %r5, 4, %r2; ld.shared.u32 %r6, [%r4];
ld.param.u64 %d1, [p0]; sub.u32 %r5, %r5, 32; mad.wide.u32 %d1, %r5, 4, %d1;
st.global.u32 [%d1], %r6;
"""


def handed_over(text: str, order: str, threads: int = 96) -> np.ndarray:
    out = np.zeros(32, np.uint32)
    run(
        kernel(text, ".param .u64 p0"), "k", (1,), (threads,), [out], shared_bytes=1024, order=order
    )
    return out


@pytest.mark.parametrize("order", ORDERS)
def test_some_warps_arrive_and_one_waits(order):
    np.testing.assert_array_equal(handed_over(HANDED_OVER, order), np.arange(32, 64))


def test_a_barrier_orders_only_its_own_warps():
    text = HANDED_OVER.replace("bar.arrive 3, 96;", "").replace("3, 96", "3, 32")
    with pytest.raises(PtxError, match="race"):
        handed_over(text, "first")


def test_a_barrier_for_more_threads_than_come_is_a_deadlock():
    with pytest.raises(PtxError, match=r"deadlock: 32 threads at bar.sync 3, 128|deadlock"):
        handed_over(HANDED_OVER.replace("3, 96", "3, 128"), "first")


def test_a_barrier_of_two_numbers_of_threads():
    with pytest.raises(PtxError, match=r"barrier 3 of .* threads, where others wait"):
        handed_over(HANDED_OVER.replace("bar.arrive 3, 96", "bar.arrive 3, 64"), "last")


def test_unaligned_barriers_may_be_at_different_places():
    body = "setp.eq.u32 %p2, %r3, 0; @%p2 bra LOW; barrier.sync 1; bra E; LOW: barrier.sync 1; E:"
    ring(body)


# ---- Tensor copies ----

COPY = (
    "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
    "[%r2], [%d3, {%r10, %r11}], [%r4];"
)
EXPECT = "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r4], 1024;"
LEADER = "elect.sync _|%p2, -1; and.pred %p2, %p2, %p1;"


def copied(
    tensor: TensorMap, column: int, row: int, *, wait: str | None = None, expect: str = EXPECT,
    copy: str = COPY, **how,
) -> np.ndarray:  # fmt: skip
    """Copy a box of 8 rows of 128 bytes; return what shared memory holds after the wait."""
    out = np.zeros((32, 32), np.uint8)
    wait = waits("%r4", "0") if wait is None else wait
    body = (
        "ld.param.u64 %d1, [p0]; mov.b64 %d2, p1; cvta.param.u64 %d3, %d2;"
        "add.u32 %r4, %r2, 2048; @%p1 mbarrier.init.shared::cta.b64 [%r4], 1;"
        f"fence.mbarrier_init.release.cluster; bar.sync 0; {LEADER} "
        f"mov.b32 %r10, {column}; mov.b32 %r11, {row}; @%p2 {expect} @%p2 {copy} {wait}"
        "mad.lo.u32 %r5, %r1, 32, %r2; mad.wide.u32 %d1, %r1, 32, %d1;"
        "ld.shared.v4.b32 {%r6, %r7, %r8, %r9}, [%r5];"
        "st.global.v4.b32 [%d1], {%r6, %r7, %r8, %r9};"
        "ld.shared.v4.b32 {%r6, %r7, %r8, %r9}, [%r5+16];"
        "st.global.v4.b32 [%d1+16], {%r6, %r7, %r8, %r9};"
    )
    text = kernel(body, ".param .u64 p0, .param .align 64 .b8 p1[128]")
    run(text, "k", (1,), (32,), [out, tensor], shared_bytes=2056, **how)
    return out.reshape(-1).view(np.int16).reshape(8, 64)


X = np.arange(1, 10 * 72 + 1, dtype=np.int16).reshape(10, 72)


def tensor_of(x: np.ndarray = X, swizzle: int = 0, **how) -> TensorMap:
    shape = how.pop("shape", (10, 70))  # the last two columns belong to nobody
    return TensorMap(x, shape, (72, 1), (8, 64), 2, swizzle, **how)


def box(column: int, row: int) -> np.ndarray:
    padded = np.zeros((40, 300), np.int16)
    padded[10:20, 100:170] = X[:, :70]
    return padded[10 + row : 18 + row, 100 + column : 164 + column]


@pytest.mark.parametrize("place", [(0, 0), (8, 2), (40, 6), (-8, -3), (-70, 0), (0, 20)])
def test_a_box_is_copied_with_zeros_outside(place):
    np.testing.assert_array_equal(copied(tensor_of(), *place), box(*place))


def test_a_swizzle_mixes_pieces_of_rows():
    seen = copied(tensor_of(swizzle=128), 0, 0).reshape(8, 8, 8)
    for row in range(8):
        for piece in range(8):
            expected = box(0, 0)[row, 8 * piece : 8 * piece + 8]
            np.testing.assert_array_equal(seen[row, piece ^ row], expected)


def test_a_tensor_may_begin_inside_an_array():
    seen = copied(tensor_of(Pointer(X, 2 * 72 * 2), shape=(8, 70)), 0, -2)
    np.testing.assert_array_equal(seen, box(0, 0) * (np.arange(8) >= 2)[:, None])


def test_what_is_not_waited_for_has_not_landed():
    plain = {"wait": ""}
    with pytest.raises(PtxError, match=r"read after write .*, written by a bulk copy"):
        copied(tensor_of(), 0, 0, **plain)
    over = "bar.sync 0; " + waits("%r4", "0")
    np.testing.assert_array_equal(copied(tensor_of(), 0, 0, wait=over), box(0, 0))
    with pytest.raises(PtxError, match="the block ended before a bulk copy had landed"):
        copied(tensor_of(), 0, 0, wait="ret;")


def test_it_is_nan_until_then():
    late = "ld.shared.u32 %r20, [%r2]; setp.ne.u32 %p3, %r20, -1; @%p3 trap;" + waits("%r4", "0")
    np.testing.assert_array_equal(copied(tensor_of(), 0, 0, wait=late, race="off"), box(0, 0))


WRONG = {
    "fewer bytes than expected": ({"expect": EXPECT.replace("1024", "1040")}, "deadlock"),
    "more bytes than expected": ({"expect": EXPECT.replace("1024", "1008")}, "deadlock"),
    "a destination of 64": ({"copy": COPY.replace("[%r2]", "[%r2+64]")}, "multiple of 128"),
    "a destination outside": ({"copy": COPY.replace("[%r2]", "[%r2+1280]")}, "out of bounds"),
    "other dimensions": (
        {"copy": COPY.replace("2d", "1d").replace(", %r11", "")},
        "a tensor map of 2 dimensions",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_copies(name):
    how, message = WRONG[name]
    with pytest.raises(PtxError, match=message):
        copied(tensor_of(), 0, 0, **how)


def test_a_tensor_longer_than_its_array():
    with pytest.raises(PtxError, match="global access out of bounds"):
        copied(tensor_of(shape=(12, 70)), 0, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strides": (71, 1)}, "no multiple of 16 bytes"),
        ({"strides": (72, 2)}, "the innermost stride"),
        ({"box": (300, 64)}, "1 .. 256"),
        ({"box": (8, 128), "swizzle": 128}, "longer than the swizzle"),
    ],
)
def test_wrong_tensor_maps(change, message):
    right = {"shape": (10, 70), "strides": (72, 1), "box": (8, 64), "element_bytes": 2}
    with pytest.raises(PtxError, match=message):
        TensorMap(X, **{**right, **change})
