"""Branches, barriers and warp collectives of threads that part and meet."""

from __future__ import annotations

import numpy as np
import pytest

from ..interpreter import PtxError, run
from .snippets import THREADS, evaluate, execute, integers, kernel

STORE = "mul.wide.u32 %d1, %t, 4; add.s64 %d1, %in0, %d1; st.global.b32 [%d1], %r0;"
LANE = np.arange(32)


def test_threads_loop_as_often_as_each_needs():
    x = integers(0) & np.uint32(15)
    total = evaluate(
        "mov.u32 %r0, 0; AGAIN: setp.eq.u32 %p1, %r1, 0; @%p1 bra OUT; add.u32 %r0, %r0, %r1;"
        "sub.u32 %r1, %r1, 1; bra AGAIN; OUT: add.u32 %r0, %r0, 1;",
        x,
    )
    np.testing.assert_array_equal(total, x * (x + 1) // 2 + 1)


def test_threads_may_return_one_by_one():
    out = np.full(64, 9, np.uint32)
    execute(f"setp.lt.u32 %p1, %t, 40; @%p1 ret; mov.u32 %r0, 1; {STORE}", out, threads=64)
    np.testing.assert_array_equal(out, np.where(np.arange(64) < 40, 9, 1))


WARP = {
    "idx": ("shfl.sync.idx.b32 %r0, %t, 5, 31, -1;", np.full(32, 5)),
    "idx in eights": ("shfl.sync.idx.b32 %r0, %t, 3, 0x181f, -1;", LANE // 8 * 8 + 3),
    "up": ("shfl.sync.up.b32 %r0, %t, 3, 0, -1;", np.where(LANE < 3, LANE, LANE - 3)),
    "down": ("shfl.sync.down.b32 %r0, %t, 2, 31, -1;", np.where(LANE > 29, LANE, LANE + 2)),
    "bfly": ("shfl.sync.bfly.b32 %r0, %t, 9, 31, -1;", LANE ^ 9),
    "in range": (
        "shfl.sync.up.b32 %r1|%p1, %t, 3, 0, -1; selp.b32 %r0, 1, 0, %p1;",
        (LANE >= 3).astype(int),
    ),
    "ballot": (
        "setp.lt.u32 %p1, %t, 4; vote.sync.ballot.b32 %r0, %p1, -1;",
        np.full(32, 15),
    ),
    "any": (
        "setp.eq.u32 %p1, %t, 4; vote.sync.any.pred %p2, %p1, -1; selp.b32 %r0, 1, 0, %p2;",
        np.ones(32),
    ),
    "all": (
        "setp.lt.u32 %p1, %t, 31; vote.sync.all.pred %p2, !%p1, -1; selp.b32 %r0, 1, 0, %p2;",
        np.zeros(32),
    ),
    "match": ("shr.u32 %r1, %t, 2; match.sync.any.b32 %r0, %r1, -1;", 15 << (LANE // 4 * 4)),
    "redux": ("redux.sync.add.s32 %r0, %t, -1;", np.full(32, 496)),
    "activemask": ("activemask.b32 %r0;", np.full(32, 0xFFFFFFFF)),
    "lanemask_lt": ("mov.u32 %r0, %lanemask_lt;", (1 << LANE) - 1),
    "half of the lanes": (
        "mov.u32 %r0, 7; setp.ge.u32 %p1, %t, 16; @%p1 bra OUT; "
        "shfl.sync.bfly.b32 %r0, %t, 1, 31, 0xffff; OUT:",
        np.where(LANE < 16, LANE ^ 1, 7),
    ),
}


@pytest.mark.parametrize("name", WARP)
def test_warp_instructions(name):
    body, expected = WARP[name]
    out = np.zeros(32, np.uint32)
    execute(f"{body} {STORE}", out)
    np.testing.assert_array_equal(out, np.asarray(expected, np.uint32))


def test_a_barrier_counts_votes():
    out = np.zeros(THREADS, np.uint32)
    execute(f"setp.lt.u32 %p1, %t, 11; bar.red.popc.u32 %r0, 0, %p1; {STORE}", out, threads=THREADS)
    np.testing.assert_array_equal(out, np.full(THREADS, 11))


FAULTS = {
    "a divergent barrier": (
        "setp.lt.u32 %p1, %t, 40; @%p1 bra LOW; bar.sync 0; bra END; LOW: bar.sync 0; END:",
        r"divergent barrier .*PTX line \d+.* and bar.sync 0",
    ),
    "a return before a barrier": (
        "setp.lt.u32 %p1, %t, 40; @%p1 ret; bar.sync 0;",
        "barrier after 40 threads of the block returned",
    ),
    "half a warp shuffling for all": (
        "setp.lt.u32 %p1, %t, 16; @%p1 bra LOW; bar.sync 0; bra END;"
        "LOW: shfl.sync.idx.b32 %r1, %t, 0, 31, -1; END:",
        "deadlock .*: 16 threads at shfl.*; 48 threads at bar.sync|48 threads at bar.sync.*16 thr",
    ),
    "a lane outside its own mask": (
        "shfl.sync.idx.b32 %r1, %t, 0, 31, 0xffff;",
        "a lane is not in its own mask 0000ffff",
    ),
    "a trap": ("setp.eq.u32 %p1, %t, 33; @%p1 trap;", r"trap \[thread 33, block"),
    "an unknown function": ("call.uni (), helper, ();", "unsupported call"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_reported(name):
    body, message = FAULTS[name]
    with pytest.raises(PtxError, match=message):
        execute(body, np.zeros(64, np.uint32), threads=64)


def test_a_loop_without_end_is_given_up():
    from ..interpreter import DeviceMemory, launch, parse

    spinning = parse(kernel("AGAIN: add.u32 %r1, %r1, 1; bra AGAIN;", 0))["k"]
    with pytest.raises(PtxError, match="step limit"):
        launch(spinning, DeviceMemory(1024), (1,), (32,), 0, [], step_limit=1000)


def test_an_unsupported_instruction_is_named_with_its_line():
    text = kernel("mov.u32 %r1, 0;\ntcgen05.fence::before_thread_sync;", 0)
    line = next(i for i, row in enumerate(text.splitlines(), 1) if "tcgen05" in row)
    with pytest.raises(PtxError, match=rf"unsupported: tcgen05.fence.*PTX line {line}\)"):
        run(text, "k", (1,), (32,), [])


def test_the_line_in_the_source_is_named_where_the_compiler_left_it():
    body = ".loc 1 42 7, inlined_at 1 40 2\nmov.u64 %d1, 0;\nld.global.u32 %r1, [%d1];"
    text = kernel(body, 0).replace(".extern", '.file 1 "/somewhere/kernels/row.cu"\n.extern')
    with pytest.raises(PtxError, match=r"PTX line \d+, row.cu:42"):
        run(text, "k", (1,), (32,), [])


def test_arguments_are_counted():
    with pytest.raises(PtxError, match="k has 1 parameters; got 2 arguments"):
        run(kernel("", 1), "k", (1,), (32,), [0, 0])


def test_required_block_sizes_are_held():
    text = kernel("", 0).replace("()\n{", "()\n.reqntid 128, 1, 1\n{")
    with pytest.raises(PtxError, match="k needs 128 threads; got 64"):
        run(text, "k", (1,), (64,), [])
