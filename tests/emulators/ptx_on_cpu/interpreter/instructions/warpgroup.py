"""wgmma: products of a warpgroup, four warps, that are over when they have been waited for.

A product is computed at the ``wgmma.wait_group`` that covers it: only then shared memory is read.
From its issue on the accumulator's registers hold NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from ..formats import Row, half_to_float
from ..machine import Machine
from ..parser import Instruction
from ..registers import Mask, Step, nothing, vector
from ..tensor_map import swizzled
from .registry import instruction, unsupported

_THREADS = 128
_SPANS = (0, 128, 64, 32)  # of a swizzle, by the descriptor's highest bits
_STORED: dict[int, Any] = {2: np.uint16, 4: np.uint32}  # by an element's bytes


@dataclass
class Product:
    """A product on its way."""

    group: int  # how many groups the warpgroup had committed before
    multiply: Callable[[Row], Row]  # adds it to an accumulator


@dataclass
class Accumulator:
    """The registers of a matrix D in a warpgroup, and the products that are added to it."""

    targets: list[Row]  # of the warpgroup's threads
    values: Row  # (64, N)
    source: Instruction
    products: list[Product] = field(default_factory=list)


class Warpgroups:
    """The products on their way, of every warpgroup of a block."""

    def __init__(self, count: int) -> None:
        self.committed = [0] * count
        self.flying: list[dict[tuple[str, ...], Accumulator]] = [{} for _ in range(count)]


def _of(m: Machine) -> Warpgroups:
    if m.warpgroups is None:
        m.warpgroups = Warpgroups(m.threads // _THREADS)
    return m.warpgroups


def _acting(m: Machine, where: Mask) -> list[int]:
    """Return the warpgroups that act; the scheduler brings only whole ones."""
    return [int(group) for group in np.unique(m.lanes(where) // _THREADS)]


@instruction("wgmma")
def warpgroup_product(m: Machine, ins: Instruction) -> Step:
    """Compile ``wgmma.fence``, ``.mma_async``, ``.commit_group`` and ``.wait_group``."""
    if m.threads % _THREADS:
        raise unsupported(ins, f"a block of {m.threads} threads, not whole warpgroups")
    if ins.op[1] == "fence":
        return nothing
    if ins.op[1] == "commit_group":
        return _commit(m)
    if ins.op[1] == "wait_group":
        return _wait(m, ins, int(ins.args[0], 0))
    if ins.op[1] == "mma_async":
        return _issue(m, ins)
    raise unsupported(ins)


def _commit(m: Machine) -> Step:
    def step(where: Mask = True) -> None:
        for group in _acting(m, where):
            _of(m).committed[group] += 1

    return step


def _wait(m: Machine, ins: Instruction, newest: int) -> Step:
    def step(where: Mask = True) -> None:
        for group in _acting(m, where):
            flying, committed = _of(m).flying[group], _of(m).committed[group]
            for names, one in list(flying.items()):
                while one.products and one.products[0].group < committed - newest:
                    one.values = one.products.pop(0).multiply(one.values)
                if not one.products:
                    _write(m, one, ins, group)
                    del flying[names]

    return step


def _write(m: Machine, one: Accumulator, ins: Instruction, group: int) -> None:
    words = _fragments(one.values)
    for target, row in zip(one.targets, words, strict=True):
        if (target != np.uint32(0xFFFFFFFF)).any():
            message = "an accumulator was written before the wait for its product"
            m.fail(message, one.source, group * _THREADS)
        target[:] = row


def _fragments(values: Row) -> Row:
    """Return the registers (N / 2, 128 threads) of an accumulator (64, N)."""
    N = values.shape[1]
    # row = 16 warp + 8 half + lane // 4; column = 8 block + 2 (lane % 4) + side
    split = values.reshape(4, 2, 8, N // 8, 4, 2)  # warp, half, g, block, t, side
    words = split.transpose(3, 1, 5, 0, 2, 4).reshape(N // 2, _THREADS)
    return np.ascontiguousarray(words).view(np.uint32)


def _matrix(rows: Row, N: int) -> Row:
    """Return the matrix (64, N) that registers (N / 2, 128) hold; undoes `_fragments`."""
    split = rows.view(np.float32).reshape(N // 8, 2, 2, 4, 8, 4)
    return np.ascontiguousarray(split.transpose(3, 1, 4, 0, 5, 2).reshape(64, N))


def _issue(m: Machine, ins: Instruction) -> Step:
    shape = next((part for part in ins.op if part.startswith("m64n")), "")
    N, _, K = shape[4:].partition("k")
    kinds = ins.op[ins.op.index(shape) + 1 :] if shape else []
    if len(kinds) != 3 or kinds[0] != "f32" or kinds[1] != kinds[2]:
        raise unsupported(ins)
    kind, columns = kinds[1], int(N)
    if (kind, K) not in (("f16", "16"), ("bf16", "16"), ("tf32", "8")):
        raise unsupported(ins)
    size = 4 if kind == "tf32" else 2
    names = tuple(vector(ins.args[0]))
    targets = [m.registers.target(name, "b32") for name in names]
    from_registers = "{" in ins.args[1]
    # tf32 has no choice of the matrices' order; A in registers has none either.
    count = 6 if kind == "tf32" else 8 - from_registers
    if len(names) != columns // 2 or len(ins.args) != count or columns % 8:
        raise unsupported(ins)
    if from_registers:
        registers = [m.registers.source(name, "b32") for name in vector(ins.args[1])]
        if len(registers) != 4:
            raise unsupported(ins)
    else:
        descriptor_a = m.registers.source(ins.args[1], "b64")
    descriptor_b = m.registers.source(ins.args[2], "b64")
    scale_d = m.registers.predicate(ins.args[3])
    scale = int(ins.args[4]) * int(ins.args[5])
    transposed = [text != "0" for text in ins.args[6:]] or [False, False]
    if scale not in (1, -1):
        raise unsupported(ins)

    def number(value: Row, first: int) -> int:
        own = m.registers.spread(value)[first : first + _THREADS]
        if (own != own[0]).any():
            m.fail("threads of a warpgroup give different operands", ins, first)
        return int(own[0])

    def one(group: int) -> None:
        first = group * _THREADS
        own = slice(first, first + _THREADS)
        b_words = _operand(m, ins, number(descriptor_b, first), columns, size, transposed[-1])
        if from_registers:
            a = np.stack([m.registers.spread(row)[own] for row in registers])
            # words of a thread: rows g and g + 8, then the same 8 columns on
            a = a.reshape(2, 2, 4, 8, 4).transpose(2, 1, 3, 0, 4).reshape(64, 8)
            a = _numbers(np.ascontiguousarray(a).view(_STORED[size]), kind)
            a_words = None
        else:
            a_words = _operand(m, ins, number(descriptor_a, first), 64, size, transposed[0])

        def read() -> None:
            """Take note of the reads: of A by the warp whose rows they are, of B by all."""
            warps = first + 32 * np.arange(4)
            pieces = np.unique(b_words >> 4 << 4)
            offsets, threads = np.tile(pieces, 4), np.repeat(warps, len(pieces))
            m.check_read(offsets, 16, threads, ins)
            if a_words is not None:
                for warp, rows in zip(warps, a_words.reshape(4, -1), strict=True):
                    own_pieces = np.unique(rows >> 4 << 4)
                    m.check_read(own_pieces, 16, np.full(len(own_pieces), warp), ins)

        def elements(words: Row) -> Row:
            return _numbers(m.shared.bytes.view(_STORED[size])[words // size], kind)

        def multiply(values: Row) -> Row:
            if m.shared.tracks:
                read()
            left = a if a_words is None else elements(a_words)
            product = np.matmul(left, elements(b_words).T)
            return (values + scale * product).astype(np.float32)

        if m.shared.tracks:
            read()
        keeps = bool(number(scale_d(), first))
        groups = _of(m)
        flying = groups.flying[group]
        accumulator = flying.get(names)
        if accumulator is None:
            if any(not set(names).isdisjoint(other) for other in flying):
                m.fail("an accumulator overlaps one of a product on its way", ins, first)
            rows = [row[own] for row in targets]
            values = _matrix(np.stack(rows), columns)
            accumulator = flying[names] = Accumulator(rows, values, ins)
            for row in rows:
                row[:] = 0xFFFFFFFF
        if keeps:
            product = Product(groups.committed[group], multiply)
        else:
            product = Product(
                groups.committed[group], lambda values: multiply(np.zeros_like(values))
            )
        accumulator.products.append(product)

    def step(where: Mask = True) -> None:
        for group in _acting(m, where):
            one(group)

    return step


def _numbers(stored: Row, kind: str) -> Row:
    """Return the numbers that patterns of 16 or 32 bits stand for."""
    if kind == "tf32":  # the hardware ignores the low bits
        return (stored & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)
    return half_to_float(stored, kind).astype(np.float64)


def _operand(
    m: Machine, ins: Instruction, descriptor: int, rows: int, size: int, transposed: bool
) -> Row:
    """Return where in shared memory the elements (rows, 32 bytes of them) of a matrix lie."""
    start, leading, stride = ((descriptor >> shift & 0x3FFF) << 4 for shift in (0, 16, 32))
    if descriptor >> 49 & 7:
        raise unsupported(ins, "a matrix descriptor with a base offset")
    span = _SPANS[descriptor >> 62]
    places = swizzled(start + _layout(rows, size, transposed, leading, stride, span), span)
    if int(places.min()) < 0 or int(places.max()) + size > m.shared.size:
        m.fail(f"a matrix descriptor reaches byte {int(places.max()) + 1} of {m.shared.size}", ins)
    return places


@cache
def _layout(rows: int, size: int, transposed: bool, leading: int, stride: int, span: int) -> Row:
    """Return the offsets of elements (row, k) before they are swizzled."""
    row, k = np.arange(rows)[:, None], np.arange(32 // size)[None, :]
    if not transposed:  # K lies along the rows of shared memory
        byte = k * size
        if span:
            return row // 8 * stride + row % 8 * span + byte
        return row // 8 * stride + byte // 16 * leading + row % 8 * 16 + byte % 16
    if span:
        width = span // 2
        return row // width * leading + k // 8 * stride + k % 8 * span + row % width * 2
    return row // 8 * stride + k // 8 * leading + k % 8 * 16 + row % 8 * 2
