"""cp.async.bulk.tensor: boxes of a tensor copied to shared memory.

Until the copy has landed the destination holds NaN. It lands when a thread waits for its mbarrier
and no other thread can run.
"""

from __future__ import annotations

import re

import numpy as np

from ..machine import Machine
from ..mbarriers import BulkCopy
from ..parser import Instruction
from ..registers import Mask, Step
from ..tensor_map import TensorMap, swizzled
from .registry import unsupported

_SOURCE = re.compile(r"\[\s*([^,\s]+)\s*,\s*\{([^}]*)\}\s*\]")
_KNOWN = {
    "cp", "async", "bulk", "tensor", "shared::cta", "shared::cluster", "global", "tile",
    "mbarrier::complete_tx::bytes", "L2::cache_hint", "cta_group::1",
}  # fmt: skip


def copy_tensor(m: Machine, ins: Instruction) -> Step:
    """Compile ``cp.async.bulk.tensor`` from global to shared memory."""
    rank = next((int(part[0]) for part in ins.op if re.fullmatch(r"[1-5]d", part)), None)
    found = _SOURCE.fullmatch(ins.args[1])
    direction = ins.op[5:7]
    if (
        rank is None
        or found is None
        or set(ins.op) - _KNOWN - {f"{rank}d"}
        or direction not in (["shared::cta", "global"], ["shared::cluster", "global"])
    ):
        raise unsupported(ins)
    target, barrier = m.address(ins.args[0]), m.address(ins.args[2])
    map_address = m.address(f"[{found[1]}]")
    coordinates = [m.registers.source(name.strip(), "s32") for name in found[2].split(",")]
    if len(coordinates) != rank:
        raise unsupported(ins)

    def step(where: Mask = True) -> None:
        for thread in m.lanes(where):
            of_map = int(map_address()[thread])
            tensor = m.tensor_maps.get(of_map)
            if tensor is None:
                m.fail(f"no tensor map at address {of_map:#x}", ins, int(thread))
            if len(tensor.box) != rank:
                m.fail(f"a tensor map of {len(tensor.box)} dimensions", ins, int(thread))
            start = [int(m.registers.spread(value)[thread]) for value in coordinates[::-1]]
            destination = int(target()[thread])
            place = int(barrier()[thread])
            _start(m, ins, int(thread), tensor, start, destination, place)

    return step


def _start(
    m: Machine,
    ins: Instruction,
    thread: int,
    tensor: TensorMap,
    start: list[int],
    destination: int,
    barrier: int,
) -> None:
    size = tensor.element_bytes
    if destination % 128:
        m.fail(f"the destination {destination} is no multiple of 128 bytes", ins, thread)
    relative, inside = tensor.elements(start)
    data = np.full((len(relative), size), 0xFF if tensor.fill == "nan" else 0, np.uint8)
    if inside.any():
        base = int(tensor.base)  # type: ignore[call-overload]  # launch has made it an address
        if base % 16:
            m.fail("the tensor's address is no multiple of 16 bytes", ins, thread)
        addresses = base + relative[inside]
        begin = m.global_offsets(addresses, size, np.full(len(addresses), thread), ins)
        data[inside] = m.memory.bytes[begin[:, None] + np.arange(size)]
    pieces = data.reshape(-1, 16)
    offsets = swizzled(destination + 16 * np.arange(len(pieces)), tensor.swizzle)
    threads = np.full(len(pieces), thread)
    m.place(offsets, 16, "shared", threads, ins)
    m.place(np.array([barrier]), 8, "shared", threads[:1], ins)
    for other in m.mbarriers.copies:
        if len(np.intersect1d(other.offsets, offsets)):
            m.fail(f"a bulk copy onto one that is on its way, of {other.source}", ins, thread)
    race = m.shared.bulk_race(offsets, 16, np.full(len(pieces), m.number(thread)))
    if race:
        m.fail(race[1], ins, thread)
    m.shared.bytes[offsets[:, None] + np.arange(16)] = 0xFF
    m.mbarriers.copies.append(BulkCopy(barrier, offsets, pieces, ins, m.number(thread)))
