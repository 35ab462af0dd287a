"""cp.async: copies from global to shared memory that land when they are waited for.

Until then the destination holds NaN, so that a wait which is missing or too short shows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..formats import Row
from ..machine import Copy, Machine
from ..parser import Instruction
from ..registers import Mask, Step, nothing
from .bulk_copy import copy_tensor
from .registry import instruction, unsupported


@instruction("cp")
def copy(m: Machine, ins: Instruction) -> Step:
    """Compile ``cp.async``, ``cp.async.commit_group``, ``.wait_group`` and ``.wait_all``."""
    if ins.op[:4] == ["cp", "async", "bulk", "tensor"]:
        return copy_tensor(m, ins)
    if ins.op[:2] == ["cp", "reduce"] or ins.has("bulk", "mbarrier") or ins.op[1] != "async":
        raise unsupported(ins)
    if ins.has("commit_group"):
        return _commit(m)
    if ins.has("wait_group"):
        return _wait(m, int(ins.args[0], 0))
    if ins.has("wait_all"):
        return _wait(m, None)
    return _start(m, ins)


def _commit(m: Machine) -> Step:
    def step(where: Mask = True) -> None:
        m.groups[m.lanes(where)] += 1

    return step


def _wait(m: Machine, newest: int | None) -> Step:
    """Land the copies of all groups but the ``newest`` ones of each thread; None: of all."""

    def step(where: Mask = True) -> None:
        waits = np.ones(m.threads, bool) if where is True else where
        flying = []
        for copy in m.copies:
            done = waits[copy.threads]
            if newest is not None:
                done = done & (copy.group < m.groups[copy.threads] - newest)
            if done.any():
                size = copy.data.shape[1]
                m.shared.bytes[copy.offsets[done][:, None] + np.arange(size)] = copy.data[done]
                m.shared.landed(copy.offsets[done], size, copy.threads[done])
            if not done.all():
                rest = ~done
                flying.append(
                    Copy(copy.threads[rest], copy.offsets[rest], copy.data[rest], copy.group[rest])
                )
        m.copies = flying

    return step


def _start(m: Machine, ins: Instruction) -> Step:
    size = int(ins.args[2], 0)
    target, source = m.address(ins.args[0]), m.address(ins.args[1])
    extra = ins.args[3:-1] if ins.has("L2::cache_hint") else ins.args[3:]
    valid_bytes = _valid_bytes(m, extra, size)

    def step(where: Mask = True) -> None:
        threads = m.lanes(where)
        if not len(threads):
            return
        _, offsets = m.place(target()[threads], size, "shared", threads, ins)
        counts, addresses = valid_bytes()[threads], source()[threads]
        data = np.zeros((len(threads), size), np.uint8)
        for count in np.unique(counts[counts > 0]):
            i = np.flatnonzero(counts == count)
            if (addresses[i] & (size - 1)).any():
                m.fail(f"misaligned {size}-byte source of cp.async", ins)
            begin = m.global_offsets(addresses[i], int(count), threads[i], ins)
            data[i, :count] = m.memory.bytes[begin[:, None] + np.arange(count)]
        m.check_write(offsets, size, threads, None, ins)
        m.shared.bytes[offsets[:, None] + np.arange(size)] = 0xFF
        m.copies.append(Copy(threads, offsets, data, m.groups[threads].copy()))

    return step


def _valid_bytes(m: Machine, extra: list[str], size: int) -> Callable[[], Row]:
    """Return how many bytes each thread copies; the rest of ``size`` becomes zeros."""
    if not extra:
        return lambda: np.full(m.threads, size, np.int64)
    row = m.registers.rows.get(extra[0].lstrip("!"))
    if row is not None and row.dtype == bool:
        ignored = m.registers.predicate(extra[0])
        return lambda: np.where(ignored(), 0, size)
    count = m.registers.source(extra[0], "u32")
    return lambda: np.minimum(m.registers.spread(count).astype(np.int64), size)


@instruction(
    "membar", "fence", "prefetch", "prefetchu", "nanosleep", "discard", "griddepcontrol",
    "applypriority", "setmaxnreg",
)  # fmt: skip
def no_effect(m: Machine, ins: Instruction) -> Step:
    """Compile hints and fences: one instruction is over before the next one begins."""
    return nothing
