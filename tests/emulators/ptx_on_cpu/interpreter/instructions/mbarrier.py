"""mbarrier: initialising, arriving, and the waits that block a thread until a phase is over."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import PtxError
from ..formats import Row
from ..machine import Machine
from ..parser import Instruction
from ..registers import Mask, Step
from .registry import instruction, unsupported


@instruction("mbarrier")
def mbarrier(m: Machine, ins: Instruction) -> Step:
    """Compile ``mbarrier.init``, ``.inval``, ``.arrive``, ``.expect_tx``; waits: see `wait`."""
    what, operands = ins.op[1], list(ins.args)
    if what not in ("init", "inval", "arrive", "expect_tx") or ins.has("noComplete", "cluster"):
        raise unsupported(ins)
    if ins.has("shared::cluster") and what == "arrive" and operands[0] != "_":
        raise unsupported(ins)
    state = operands.pop(0) if what == "arrive" else "_"
    address = m.address(operands[0])
    number = m.registers.source(operands[1] if len(operands) > 1 else "1", "u32")
    target = None if state == "_" else m.registers.target(state, "b64")
    expects = ins.has("expect_tx")

    def one(thread: int, place: int, value: int) -> None:
        if what == "init":
            m.mbarriers.start(place, value)
        elif what == "inval":
            m.mbarriers.end(place)
        else:
            if expects:
                m.mbarriers.expect(place, value)
            if what == "arrive":
                warp = m.number(thread) // 32
                phase = m.mbarriers.arrive(place, 1 if expects else value, warp)
                if target is not None:
                    target[thread] = phase

    def step(where: Mask = True) -> None:
        threads = m.lanes(where)
        if not len(threads):
            return
        _, places = m.place(address()[threads], 8, "shared", threads, ins)
        values = m.registers.spread(number)[threads]
        for thread, place, value in zip(threads, places, values, strict=True):
            try:
                one(int(thread), int(place), int(value))
            except PtxError as error:
                m.fail(str(error), ins, int(thread))

    return step


def wait(m: Machine, ins: Instruction) -> Callable[[Row, bool], Row]:
    """Compile ``mbarrier.try_wait`` and ``.test_wait``.

    Return a function that takes waiting threads and whether they give up if they have to go on
    waiting; it sets the predicates of those that are done, and returns which ones these are.
    """
    if ins.op[1] not in ("try_wait", "test_wait"):
        raise unsupported(ins)
    target = m.registers.target(ins.args[0], "pred")
    by_parity = ins.has("parity")
    phase = m.registers.source(ins.args[2], "u32" if by_parity else "b64")
    places = wait_address(m, ins)

    def finish(threads: Row, gives_up: bool) -> Row:
        done = np.zeros(len(threads), bool)
        awaited = m.registers.spread(phase)[threads]
        for i, place in enumerate(places(threads)):
            try:
                barrier = m.mbarriers.at(int(place))
            except PtxError as error:
                m.fail(str(error), ins, int(threads[i]))
            if by_parity:
                done[i] = barrier.is_over(int(awaited[i]))
            else:
                done[i] = barrier.phase != int(awaited[i])
            if done[i]:
                m.shared.waited(m.warp[threads[i : i + 1]], barrier.known_before)
        target[threads[done]] = True
        if gives_up:
            target[threads[~done]] = False
            done[:] = True
        return done

    return finish


def wait_address(m: Machine, ins: Instruction) -> Callable[[Row], Row]:
    """Return a function that gives the mbarriers' addresses for waiting threads."""
    address = m.address(ins.args[1])
    return lambda threads: m.place(address()[threads], 8, "shared", threads, ins)[1]
