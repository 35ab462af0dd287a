"""Straight-line code whose independent instructions run together: as if one followed the other."""

from __future__ import annotations

import random

import numpy as np
import pytest

from ..interpreter import PtxError, parse, run, scheduler
from ..interpreter.batches import groups_of
from ..interpreter.forms import Forms
from .snippets import kernel

REGISTERS, PREDICATES, THREADS = 12, 3, 64
#: D, A and B stand for registers of 32 bits, P and Q for predicates; %d6 is an address of global
#: memory, %t of the thread's own 32 bytes of shared memory.
KINDS = [
    "add.u32 D, A, B;", "sub.u32 D, A, 5;", "xor.b32 D, A, B;", "mul.lo.u32 D, A, B;",
    "mad.lo.u32 D, A, B, D;", "shl.b32 D, A, 3;", "shr.s32 D, A, 1;", "mov.b32 D, A;",
    "selp.b32 D, A, B, P;", "setp.lt.s32 P, A, B;", "setp.ne.u32 P, A, 7;", "min.s32 D, A, B;",
    "fma.rn.f32 D, A, B, D;", "@P add.u32 D, A, B;", "@!P mov.b32 D, A;", "@P mov.b32 D, 9;",
    "popc.b32 D, A;", "mov.b64 %d5, {A, B};", "mov.b64 {D, A}, %d5;", "mov.u32 D, %laneid;",
    "cvt.rn.f32.s32 D, A;", "add.cc.u32 D, A, B;", "addc.u32 D, A, B;",
    "lop3.b32 D, A, B, D, 0x96;",
    "shfl.sync.bfly.b32 D, A, 3, 31, -1;", "vote.sync.any.pred P, Q, -1;",
    "ld.shared.b32 D, [%t+4];", "ld.shared.b32 D, [%t+8];", "@P ld.shared.b32 D, [%t];",
    "ld.shared.v2.b32 {D, A}, [%t];", "ld.global.b32 D, [%d6+8];", "ld.global.b32 D, [%d6];",
    "st.shared.b32 [%t+4], A;", "@P st.shared.b32 [%t], A;", "@P st.global.b32 [%d6], A;",
    "cp.async.ca.shared.global [%t+8], [%d6], 4;", "cp.async.commit_group;",
    "cp.async.wait_group 0;", "bar.sync 0;", "bar.warp.sync 0xffffffff;",
]  # fmt: skip


def straight_line(seed: int, length: int) -> str:
    """Return random instructions on few registers, so that most depend on each other."""
    rng, lines = random.Random(seed), []
    for _ in range(length):
        line = rng.choice(KINDS)
        for letter in "DAB":
            names = iter(rng.sample(range(REGISTERS), 4))
            line = "".join(f"%r{next(names)}" if c == letter else c for c in line)
        lines.append(
            line.replace("P", f"%p{rng.randrange(PREDICATES)}")
            .replace("Q", f"%p{rng.randrange(PREDICATES)}")
            .replace("%%", "%")
        )
    return "\n".join(lines)


def around(body: str) -> str:
    """Return a kernel that fills all registers, runs the body and stores them."""
    begin = [
        "ld.param.u64 %in0, [p0]; ld.param.u64 %in1, [p1]; mov.u32 %r15, %tid.x;",
        "mul.wide.u32 %d1, %r15, 16; add.s64 %d6, %in0, %d1; mov.u32 %r14, smem;",
        "shl.b32 %t, %r15, 5; add.u32 %t, %t, %r14; mov.b64 %d5, 77;",
        *(f"st.shared.b32 [%t+{4 * i}], %r15;" for i in range(4)),
        *(f"mad.lo.u32 %r{i}, %r15, {2 * i + 3}, {i};" for i in range(REGISTERS)),
        *(f"setp.gt.u32 %p{i}, %r15, {9 * i};" for i in range(PREDICATES)),
    ]
    end = [
        *(f"selp.b32 %r{REGISTERS + i}, 1, 0, %p{i};" for i in range(PREDICATES)),
        f"mov.u32 %r{REGISTERS + PREDICATES}, %tid.x;",
        f"mul.wide.u32 %d1, %r{REGISTERS + PREDICATES}, {4 * (REGISTERS + PREDICATES)};",
        "add.s64 %d7, %in1, %d1;",
        *(f"st.global.b32 [%d7+{4 * i}], %r{i};" for i in range(REGISTERS + PREDICATES)),
    ]
    return kernel("\n".join([*begin, body, *end]), 2)


def outcome(text: str) -> tuple[bytes, bytes, int]:
    memory = np.arange(4 * THREADS, dtype=np.uint32)
    out = np.zeros((THREADS, REGISTERS + PREDICATES), np.uint32)
    steps = run(text, "k", (2,), (THREADS,), [memory, out], shared_bytes=32 * THREADS + 32)
    return memory.tobytes(), out.tobytes(), steps


@pytest.mark.parametrize("seed", range(40))
def test_all_bits_are_those_of_one_instruction_after_the_other(seed, monkeypatch):
    text = around(straight_line(seed, 150))
    together = outcome(text)
    monkeypatch.setattr(
        scheduler, "groups_of", lambda operands: [[i] for i in range(len(operands))]
    )
    assert together == outcome(text)


def grouped(body: str) -> list[list[str]]:
    """Return the instructions of a body as they are grouped."""
    parsed = parse(kernel(body, 0))["k"]
    forms, code = Forms(parsed), parsed.instructions[:-1]  # without the return
    groups = groups_of([forms.of(ins) for ins in code])
    return [[code[i].text for i in group] for group in groups]


def test_independent_instructions_of_one_form_are_together():
    groups = grouped(
        "add.u32 %r1, %r2, %r3; mul.lo.u32 %r4, %r1, %r1; add.u32 %r5, %r6, %r7;"
        "mul.lo.u32 %r8, %r5, %r5; add.u32 %r9, %r4, %r8;"
    )
    assert [len(group) for group in groups] == [2, 2, 1]


def test_loads_stay_between_the_stores_and_barriers_around_them():
    load, store = "ld.shared.b32 %r{}, [%t+4];", "st.shared.b32 [%t+4], %r9;"
    for between in (store, "bar.warp.sync -1;", "cp.async.wait_group 0;", store + store):
        groups = grouped(load.format(1) + load.format(2) + between + load.format(3))
        assert len(groups[0]) == 2
        assert groups[-1] == ["ld.shared.b32 %r3, [%t+4]"]


FAR = "".join(f"ld.global.b32 %r{i}, [%d6+{4 * i}];" for i in range(3))


def test_an_error_names_the_instruction_and_the_thread_that_it_is_of():
    expected = r"out of bounds.*thread 63, .*ld\.global\.b32 %r4, \[%d6\+16"
    with pytest.raises(PtxError, match=expected):
        outcome(around(f"{FAR} ld.global.b32 %r4, [%d6+16]; {FAR}"))
    read = "ld.shared.b32 %r{}, [%t+{}];"
    with pytest.raises(PtxError, match=r"race .* thread 1\D.*thread 0, .*%r5, \[%t\+32\]"):
        outcome(around(read.format(4, 4) + read.format(5, 32) + read.format(6, 8)))


@pytest.mark.parametrize("name", ["add.u33", "fma.rz.f32", "mma.sync.m8n8k4", "ld.shared.b33"])
def test_what_is_not_known_is_refused_wherever_it_stands(name):
    body = f"add.u32 %r1, %r2, %r3; add.u32 %r4, %r2, %r3; bra END; {name} %r1, %r2, %r3, %r4; END:"
    with pytest.raises(PtxError, match="unsupported"):
        outcome(around(body))
