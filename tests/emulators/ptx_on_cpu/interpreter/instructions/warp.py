"""What the lanes of a warp do together: shuffles, votes, matches, reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..formats import Row
from ..machine import Machine
from ..parser import Instruction
from ..registers import Mask, Step, nothing
from .registry import instruction, unsupported

_REDUCTIONS: dict[str, np.ufunc] = {
    "add": np.add, "min": np.minimum, "max": np.maximum,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
}  # fmt: skip


@instruction("shfl")
def shuffle(m: Machine, ins: Instruction) -> Step:
    """Compile ``shfl.sync``; a lane that does not take part gives all bits set."""
    name, _, flag = ins.args[0].partition("|")
    target = None if name == "_" else m.registers.target(name, "b32")
    in_range = m.registers.target(flag, "pred") if flag not in ("", "_") else None
    value, b, c = (m.registers.source(operand, "b32") for operand in ins.args[1:4])
    mode, lane, first = ins.op[2], m.lane, m.warp * 32

    def sources() -> tuple[Row, Row]:
        delta, control = b.astype(np.int64) & 31, c.astype(np.int64)
        clamp, segment = control & 31, control >> 8 & 31
        limit = (lane & segment) | (clamp & ~segment)
        from_lane = {
            "up": lane - delta,
            "down": lane + delta,
            "bfly": lane ^ delta,
            "idx": (lane & segment) | (delta & ~segment),
        }[mode]
        ok = from_lane >= limit if mode == "up" else from_lane <= limit
        return np.minimum(first + np.where(ok, from_lane, lane), m.threads - 1), ok

    fixed = sources() if np.ndim(b) == 0 and np.ndim(c) == 0 else None

    def step(where: Mask = True) -> None:
        source, ok = fixed or sources()
        values = m.registers.spread(value)[source]
        if where is not True:
            values = np.where(where[source], values, np.uint32(0xFFFFFFFF))
        if target is not None:
            np.copyto(target, values, where=where)
        if in_range is not None:
            np.copyto(in_range, ok, where=where)

    return step


@instruction("vote")
def vote(m: Machine, ins: Instruction) -> Step:
    """Compile ``vote.sync.ballot``, ``.any``, ``.all`` and ``.uni``."""
    predicate = m.registers.predicate(ins.args[1])

    def votes(threads: Row) -> Row:
        return m.registers.spread(predicate())[threads]

    if ins.has("ballot"):
        return m.per_warp(ins.args[0], "b32", lambda own: m.lane_mask(own[votes(own)]))
    decisions: dict[str, Callable[[Row], Any]] = {
        "any": np.any,
        "all": np.all,
        "uni": lambda row: row.all() or not row.any(),
    }
    decide = decisions[ins.op[2] if ins.op[1] == "sync" else ins.op[1]]
    return m.per_warp(ins.args[0], "pred", lambda own: decide(votes(own)))


@instruction("redux")
def reduce(m: Machine, ins: Instruction) -> Step:
    """Compile ``redux.sync`` of 32-bit integers."""
    value, function = m.registers.source(ins.args[1], ins.op[-1]), _REDUCTIONS[ins.op[2]]
    return m.per_warp(
        ins.args[0], ins.op[-1], lambda own: function.reduce(m.registers.spread(value)[own])
    )


@instruction("match")
def match(m: Machine, ins: Instruction) -> Step:
    """Compile ``match.sync.any``: the lanes with the same value."""
    if not ins.has("any"):
        raise unsupported(ins)
    value = m.registers.source(ins.args[1], ins.op[-1])

    def equal(own: Row) -> list[int]:
        values = m.registers.spread(value)[own]
        return [m.lane_mask(own[values == one]) for one in values]

    return m.per_warp(ins.args[0], "b32", equal)


@instruction("elect")
def elect(m: Machine, ins: Instruction) -> Step:
    """Compile ``elect.sync``: the lowest lane leads."""
    leader, _, flag = ins.args[0].partition("|")
    chosen = m.per_warp(flag, "pred", lambda own: own == own[0])
    named = nothing
    if leader != "_":
        named = m.per_warp(leader, "b32", lambda own: m.lane[own[0]])

    def step(where: Mask = True) -> None:
        chosen(where=where)
        named(where=where)

    return step


@instruction("activemask")
def active_mask(m: Machine, ins: Instruction) -> Step:
    """Compile ``activemask``."""
    return m.per_warp(ins.args[0], "b32", m.lane_mask)
