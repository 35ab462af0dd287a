"""Registers of all threads of a block: a row of lanes each, grouped by width."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .errors import PtxError
from .formats import NUMPY_TYPES, UNSIGNED, Row, bits
from .parser import Kernel

#: Where an instruction acts: on the lanes of a mask, or on all.
Mask = Any
#: A compiled instruction: called with ``where=`` a mask, or without for all lanes.
Step = Callable[..., object]


def vector(operand: str) -> list[str]:
    """Return the names inside a ``{ }`` operand, or the one name that it is."""
    return [name.strip() for name in operand.strip("{} ").split(",")]


class Registers:
    """Rows of lanes by name, special registers, and the addresses that symbols stand for."""

    def __init__(
        self, kernel: Kernel, block: tuple[int, int, int], grid: tuple[int, int, int], dynamic: int
    ) -> None:
        self.threads = block[0] * block[1] * block[2]
        self.rows: dict[str, Row] = {}
        self._pools: dict[int, Row] = {}
        self._places: dict[str, tuple[int, int]] = {}  # the pool of a name, and where it is in that
        for width, kind in UNSIGNED.items():
            names = [name for name, w in kernel.registers.items() if w == width]
            pool = self._pools[width] = np.zeros((len(names), self.threads), kind)
            self.rows.update(zip(names, pool, strict=True))
            self._places.update((name, (width, i)) for i, name in enumerate(names))
        self.carry = np.zeros(self.threads, bool)
        self.special = _special_registers(self.threads, block, grid, dynamic)
        self.symbols: dict[str, int] = {**kernel.shared, **kernel.local}

    def part(self, first: int, last: int) -> Registers:
        """Return the registers of some of the threads, which are views of these."""
        part = object.__new__(Registers)
        part.threads = last - first
        part._pools = {width: pool[:, first:last] for width, pool in self._pools.items()}
        part._places, part.symbols = self._places, self.symbols
        part.rows = {name: row[first:last] for name, row in self.rows.items()}
        part.carry = self.carry[first:last]
        part.special = {name: row[first:last] for name, row in self.special.items()}
        return part

    def start_block(self, index: tuple[int, int, int]) -> None:
        """Fill all registers with ones (NaN, -1) and set the block's index."""
        for axis, value in zip("xyz", index, strict=True):
            self.special[f"%ctaid.{axis}"][:] = value
        for width, pool in self._pools.items():
            pool.fill(width > 1 and (1 << width) - 1)

    def immediate(self, text: str, kind: str) -> Any:
        """Return a constant operand as a numpy scalar of the type."""
        width = bits(kind)
        if kind == "pred":
            return np.bool_(int(text, 0) != 0)
        if re.fullmatch(r"0[fF][0-9A-Fa-f]{8}", text):
            single = np.uint32(int(text[2:], 16))
            if width == 32:
                return single.view(NUMPY_TYPES[kind])
            return np.float64(single.view(np.float32))
        if re.fullmatch(r"0[dD][0-9A-Fa-f]{16}", text):
            double = np.uint64(int(text[2:], 16))
            if width == 64:
                return double.view(NUMPY_TYPES[kind])
            return np.float32(double.view(np.float64))
        if kind[0] == "f" and re.match(r"-?\d+\.\d*", text):
            return NUMPY_TYPES[kind](float(text))
        if text == "WARP_SZ":
            text = "32"
        if text in self.symbols:
            value = self.symbols[text]
        else:  # PTX writes octal numbers with one leading zero, and the compilers never do
            value = int(re.sub(r"^(-?)0+(?=\d)", r"\1", text.rstrip("U")), 0)
        return UNSIGNED[width](value & ((1 << width) - 1)).view(NUMPY_TYPES[kind])

    def find(self, name: str, kind: str) -> Row | None:
        """Return a register's row, seen as the type; None if the operand is no register."""
        row = self.rows.get(name, self.special.get(name))
        if row is None:
            return None
        if row.itemsize * 8 == bits(kind) or (kind == "pred" and row.dtype == bool):
            return row.view(NUMPY_TYPES[kind])
        raise PtxError(f"register {name} used as .{kind}")

    def target(self, name: str, kind: str) -> Row:
        """Return the row of a register that is written."""
        row = self.find(name, kind)
        if row is None:
            raise PtxError(f"{name} is no register")
        return row

    def source(self, operand: str, kind: str) -> Any:
        """Return a source operand: a row, or a numpy scalar."""
        row = self.find(operand, kind)
        return self.immediate(operand, kind) if row is None else row

    def together(self, names: Sequence[str]) -> tuple[Row, slice | Row]:
        """Return all rows of the registers' width, and which of them are those of the names."""
        places = [self._places[name] for name in names]
        width, first = places[0]
        chosen = [i for _, i in places]
        gap = places[1][1] - first if len(places) > 1 else 1
        last = first + gap * len(names)
        if gap > 0 and chosen == list(range(first, last, gap)):
            return self._pools[width], slice(first, last, gap)
        return self._pools[width], np.array(chosen)

    def narrowed(self, operand: str, kind: str) -> Callable[[], Any]:
        """Return a function that gives a source operand which may lie in a wider register."""
        row = self.rows.get(operand, self.special.get(operand))
        if row is None or row.itemsize * 8 == bits(kind):
            value = self.source(operand, kind)
            return lambda: value
        wide, unsigned = row, UNSIGNED[bits(kind)]
        return lambda: wide.astype(unsigned).view(NUMPY_TYPES[kind])

    def predicate(self, operand: str) -> Callable[[], Any]:
        """Return a function that gives a predicate, negated where a ``!`` says so."""
        row = self.source(operand.lstrip("!"), "pred")
        if operand.startswith("!"):
            return lambda: ~row
        return lambda: row

    def assign(self, name: str, kind: str, function: Callable[..., Any], *sources: Any) -> Step:
        """Return the step ``name = function(*sources)``; ``_`` drops the result."""
        if name == "_":
            return nothing
        target = self.target(name, kind)

        def step(where: Mask = True) -> None:
            np.copyto(target, function(*sources), where=where, casting="unsafe")

        return step

    def spread(self, value: Any) -> Row:
        """Return a value of every lane, where a scalar stands for all."""
        return np.broadcast_to(value, self.threads)


def nothing(where: Mask = True) -> None:
    """Do nothing: the step of an instruction without effect here."""


def guarded(guard: Callable[[], Any] | None, step: Step) -> Step:
    """Return the step for the threads whose predicate holds."""
    if guard is None:
        return step

    def checked(where: Mask = True) -> None:
        acting = guard() if where is True else guard() & where
        if np.any(acting):
            step(where=acting)

    return checked


def _special_registers(
    threads: int, block: tuple[int, int, int], grid: tuple[int, int, int], dynamic: int
) -> dict[str, Row]:
    t = np.arange(threads)
    lane, warp = t % 32, t // 32
    index = (t % block[0], t // block[0] % block[1], t // block[0] // block[1])
    vectors = {"tid": index, "ntid": block, "ctaid": (0, 0, 0), "nctaid": grid}
    bit = np.uint64(1) << lane.astype(np.uint64)
    below = bit - np.uint64(1)
    all_lanes = np.uint64(0xFFFFFFFF)
    values: Mapping[str, Any] = {
        **{f"%{name}.{axis}": v[i] for name, v in vectors.items() for i, axis in enumerate("xyz")},
        "%laneid": lane, "%warpid": warp, "%nwarpid": -(-threads // 32),
        "%smid": 0, "%clock": 0, "%dynamic_smem_size": dynamic,
        "%lanemask_eq": bit, "%lanemask_lt": below, "%lanemask_le": below | bit,
        "%lanemask_gt": ~(below | bit) & all_lanes, "%lanemask_ge": ~below & all_lanes,
    }  # fmt: skip
    return {
        name: np.broadcast_to(np.asarray(value, np.uint32), threads).copy()
        for name, value in values.items()
    }
