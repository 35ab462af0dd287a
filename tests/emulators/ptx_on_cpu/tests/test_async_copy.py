"""cp.async: what lands when, and what was not waited for."""

from __future__ import annotations

import numpy as np
import pytest

from ..interpreter import PtxError
from .snippets import execute

X = np.arange(128, dtype=np.float32).reshape(32, 4)
#: Thread t's 16 bytes: global source %d2, global target %d3, shared %r2; %p1 from thread 8 on.
ADDRESSES = (
    "mul.wide.u32 %d1, %t, 16; add.s64 %d2, %in0, %d1; add.s64 %d3, %in1, %d1; mov.u32 %r1, smem;"
    "shl.b32 %r2, %t, 4; add.u32 %r2, %r1, %r2; setp.ge.u32 %p1, %t, 8; mov.u32 %r9, 8;"
)
READ = "ld.shared.v4.b32 {%r3, %r4, %r5, %r6}, [%r2]; st.global.v4.b32 [%d3], {%r3, %r4, %r5, %r6};"
COPY = "cp.async.cg.shared.global [%r2], [%d2], 16;"
COMMIT, WAIT = "cp.async.commit_group;", "cp.async.wait_group 0;"
FIRST_HALF = X * [1, 1, 0, 0]
NOTHING = np.full((32, 4), np.nan)


def copied(body: str) -> np.ndarray:
    out = np.zeros((32, 4), np.float32)
    execute(f"{ADDRESSES} {body} {READ}", X.copy(), out, shared_bytes=512)
    return out


CASES: dict[str, tuple[str, np.ndarray]] = {
    "a group": (f"{COPY} {COMMIT} {WAIT}", X),
    "wait_all": (f"{COPY} cp.async.wait_all;", X),
    "a source size": (
        f"cp.async.cg.shared.global [%r2], [%d2], 16, %r9; {COMMIT} {WAIT}",
        FIRST_HALF,
    ),
    "an ignored source": (
        f"cp.async.cg.shared.global [%r2], [%d2], 16, %p1; {COMMIT} {WAIT}",
        X * (np.arange(32) < 8)[:, None],
    ),
    "a cache hint": (
        "mov.b64 %d4, 0; cp.async.ca.shared.global.L2::cache_hint.L2::128B [%r2], [%d2], 16, %r9, "
        f"%d4; {COMMIT} {WAIT}",
        FIRST_HALF,
    ),
    "a predicate": (
        f"@%p1 {COPY} {COMMIT} {WAIT}",
        np.where((np.arange(32) >= 8)[:, None], X, np.nan),
    ),
    "no wait": (f"{COPY} {COMMIT}", NOTHING),
    "a wait for a group never committed": (f"{COPY} {WAIT}", NOTHING),
    "a wait that is one group short": (f"{COPY} {COMMIT} cp.async.wait_group 1;", NOTHING),
    "the older of two groups": (
        f"cp.async.ca.shared.global [%r2], [%d2], 8; {COMMIT} "
        f"cp.async.ca.shared.global [%r2+8], [%d2+8], 8; {COMMIT} cp.async.wait_group 1;",
        np.concatenate([X[:, :2], NOTHING[:, 2:]], axis=1),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_has_landed(name):
    body, expected = CASES[name]
    np.testing.assert_array_equal(copied(body), expected.astype(np.float32))


def test_a_wait_is_no_barrier():
    with pytest.raises(PtxError, match="race"):
        copied(f"{COPY} {COMMIT} {WAIT} xor.b32 %r2, %r2, 16;")


def test_the_source_is_checked():
    with pytest.raises(PtxError, match="global access out of bounds"):
        copied("cp.async.cg.shared.global [%r2], [%d2+16], 16;")
