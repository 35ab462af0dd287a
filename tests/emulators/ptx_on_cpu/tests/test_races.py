"""The race detector: what needs a barrier, and which one."""

from __future__ import annotations

import numpy as np
import pytest

from ..interpreter import PtxError, run
from .snippets import execute, kernel

#: Every thread has its word of shared memory at %r2, and that of the opposite thread at %r4.
ADDRESSES = (
    "mul.wide.u32 %d1, %t, 4; add.s64 %d1, %in0, %d1; mov.u32 %r1, smem; shl.b32 %r2, %t, 2;"
    "add.u32 %r2, %r1, %r2; mov.u32 %r3, %ntid.x; sub.u32 %r3, %r3, 1; sub.u32 %r3, %r3, %t;"
    "shl.b32 %r4, %r3, 2; add.u32 %r4, %r1, %r4;"
)
BLOCK, WARP = "bar.sync 0;", "bar.warp.sync 0xffffffff;"


def reverse(between: str, threads: int) -> np.ndarray:
    """Write one's own word and read the opposite one."""
    out = np.zeros(threads, np.uint32)
    execute(
        f"{ADDRESSES} st.shared.b32 [%r2], %t; {between} ld.shared.b32 %r5, [%r4];"
        "st.global.b32 [%d1], %r5;",
        out, threads=threads, shared_bytes=4 * threads,
    )  # fmt: skip
    return out


@pytest.mark.parametrize(("between", "threads"), [(BLOCK, 64), (BLOCK, 32), (WARP, 32)])
def test_a_barrier_between_is_enough(between, threads):
    np.testing.assert_array_equal(reverse(between, threads), np.arange(threads)[::-1])


@pytest.mark.parametrize(
    ("between", "threads"),
    [("", 32), ("", 64), (WARP, 64), ("shfl.sync.idx.b32 %r6, %t, 0, 31, -1;", 32)],
)
def test_less_than_that_is_a_race(between, threads):
    with pytest.raises(PtxError, match=r"race \(read after write without a barrier\) at byte"):
        reverse(between, threads)


def test_a_write_after_anothers_read_is_a_race():
    with pytest.raises(PtxError, match=r"write after read without a barrier"):
        execute(
            f"{ADDRESSES} st.shared.b32 [%r2], %t; {BLOCK} ld.shared.b32 %r5, [%r4];"
            "st.shared.b32 [%r2], %r5;",
            np.zeros(64, np.uint32), threads=64, shared_bytes=256,
        )  # fmt: skip


@pytest.mark.parametrize(("value", "races"), [("%t", True), ("7", False)])
def test_two_writes_race_unless_they_write_the_same(value, races):
    body = f"{ADDRESSES} mov.u32 %r6, {value}; st.shared.b32 [%r1], %r6;"
    arguments = {"threads": 64, "shared_bytes": 4}
    if not races:
        execute(body, np.zeros(64, np.uint32), **arguments)
        return
    with pytest.raises(PtxError, match="race"):
        execute(body, np.zeros(64, np.uint32), **arguments)


@pytest.mark.parametrize("beside", [False, True])
def test_neighbouring_bytes_are_told_apart(beside):
    """Thread t writes byte t; then it reads its own byte, or the one that thread t ^ 1 wrote."""
    body = (
        "mov.u32 %r1, smem; add.u32 %r2, %r1, %t; st.shared.b8 [%r2], %t;"
        f"xor.b32 %r2, %r2, {int(beside)}; ld.shared.b8 %r3, [%r2];"
    )
    if beside:
        with pytest.raises(PtxError, match=r"race .*at byte 1, written by thread 1"):
            execute(body, shared_bytes=32)
    else:
        execute(body, shared_bytes=32)


ATOMIC = "red.shared.add.u32 [%r1], 1;"
READ, WRITE = "ld.shared.b32 %r5, [%r1];", "st.shared.b32 [%r1], 0;"


@pytest.mark.parametrize(
    ("first", "second", "races"),
    [
        (ATOMIC, ATOMIC, False),
        (WRITE, ATOMIC, True),
        (ATOMIC, WRITE, True),
        (ATOMIC, READ, True),
        (READ, ATOMIC, True),
    ],
)
@pytest.mark.parametrize("threads", [32, 64])
def test_atomic_operations_race_with_plain_accesses_alone(first, second, races, threads):
    def attempt(between: str) -> None:
        body = f"{ADDRESSES} {first} {between} {second}"
        execute(body, np.zeros(threads, np.uint32), threads=threads, shared_bytes=4)

    attempt(BLOCK)
    if races:
        with pytest.raises(PtxError, match=r"race .*atomic operation"):
            attempt("")
    else:
        attempt("")


def test_the_detector_can_be_told_to_look_at_warps_only_or_at_nothing():
    body = (
        f"mov.u32 %t, %tid.x; ld.param.u64 %in0, [p0]; {ADDRESSES} st.shared.b32 [%r2], %t;"
        "ld.shared.b32 %r5, [%r4]; st.global.b32 [%d1], %r5;"
    )
    text = kernel(body, 1)
    run(text, "k", (1,), (32,), [np.zeros(32, np.uint32)], shared_bytes=128, race="warps")
    with pytest.raises(PtxError, match="race"):
        run(text, "k", (1,), (64,), [np.zeros(64, np.uint32)], shared_bytes=256, race="warps")
    run(text, "k", (1,), (64,), [np.zeros(64, np.uint32)], shared_bytes=256, race="off")


def test_blocks_do_not_see_each_others_shared_memory():
    out = np.zeros(64, np.float32)
    execute(
        f"{ADDRESSES} ld.shared.b32 %r5, [%r2]; mov.u32 %r6, %ctaid.x; mul.lo.u32 %r6, %r6, 128;"
        "cvt.u64.u32 %d2, %r6; add.s64 %d1, %d1, %d2; st.global.b32 [%d1], %r5;"
        "st.shared.b32 [%r2], 0;",
        out, shared_bytes=128, blocks=2,
    )  # fmt: skip
    assert np.isnan(out).all()
