"""mma.sync, ldmatrix and stmatrix. Sums are taken in float64 and rounded once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..formats import NUMPY_TYPES, Row, bits, float_to_half, half_to_float
from ..machine import Machine
from ..parser import Instruction
from ..registers import Mask, Step, vector
from .registry import instruction, unsupported


def _require_whole_warps(m: Machine, ins: Instruction) -> None:
    if m.threads % 32:
        raise unsupported(ins, f"a block of {m.threads} threads, not whole warps")


def _fragment(m: Machine, operand: str, count: int, ins: Instruction) -> Callable[[], Row]:
    """Return a function that stacks registers as (register, warp, 8 groups, 4 threads)."""
    rows = [m.registers.source(name, "b32") for name in vector(operand)]
    if len(rows) != count:
        raise unsupported(ins, f"{count} registers expected in {operand}")

    def stack() -> Row:
        stacked = np.empty((count, m.threads), np.uint32)
        for i, row in enumerate(rows):
            stacked[i] = row
        return stacked.reshape(count, m.warps, 8, 4)

    return stack


def _elements(words: Row, kind: str, ins: Instruction) -> Row:
    """Return the numbers that 32-bit words hold, along a new last axis."""
    if kind in ("f16", "bf16"):
        return half_to_float(words[..., None].view(np.uint16), kind).astype(np.float64)
    if kind == "tf32":  # the hardware ignores the low bits
        cut = (words & np.uint32(0xFFFFE000)).view(np.float32)
        return cut.astype(np.float64)[..., None]
    if kind in ("s8", "u8"):
        return words[..., None].view(NUMPY_TYPES[kind]).astype(np.int64)
    raise unsupported(ins, f"mma of {kind}")


@instruction("mma")
def multiply_accumulate(m: Machine, ins: Instruction) -> Step:
    """Compile ``mma.sync.m16n8kK``: D (16 x 8) = A (16 x K) B (K x 8) + C.

    In a warp, thread 4 g + t holds of A the rows g and g + 8 and of B the column g, at K pairs
    around t; of C and D the rows g and g + 8 at columns 2 t and 2 t + 1.
    """
    shape = next((part for part in ins.op if part.startswith("m16n8k")), None)
    kinds = [part for part in ins.op if part in NUMPY_TYPES]
    if shape is None or len(kinds) != 4 or ins.has("sp"):
        raise unsupported(ins)
    _require_whole_warps(m, ins)
    K = int(shape[6:])
    kind_d, kind_a, kind_b, kind_c = kinds
    in_a_word = 32 // (32 if kind_a == "tf32" else bits(kind_a))
    words = K // (4 * in_a_word)  # registers along K
    is_wide = kind_c in ("f32", "s32")
    read_a = _fragment(m, ins.args[1], 2 * words, ins)
    read_b = _fragment(m, ins.args[2], words, ins)
    read_c = _fragment(m, ins.args[3], 4 if is_wide else 2, ins)
    targets = [m.registers.target(name, "b32") for name in vector(ins.args[0])]
    W = m.warps
    _elements(np.zeros((1, 1), np.uint32), kind_a, ins)  # refuse a type before the kernel runs

    def step(where: Mask = True) -> None:
        a = _elements(read_a().reshape(words, 2, W, 8, 4), kind_a, ins)
        a = a.transpose(2, 1, 3, 0, 4, 5).reshape(W, 16, K)
        b = _elements(read_b(), kind_b, ins).transpose(1, 0, 3, 4, 2).reshape(W, K, 8)
        c = read_c()
        if is_wide:
            c = c.view(NUMPY_TYPES[kind_c]).reshape(2, 2, W, 8, 4).transpose(2, 0, 3, 4, 1)
        else:
            c = half_to_float(c[..., None].view(np.uint16), kind_c).transpose(1, 0, 2, 3, 4)
        d = (np.matmul(a, b) + c.reshape(W, 16, 8)).reshape(W, 2, 8, 4, 2)
        if kind_d in ("f32", "s32"):
            d = d.astype(NUMPY_TYPES[kind_d]).transpose(1, 4, 0, 2, 3).reshape(4, m.threads)
        else:
            packed = float_to_half(d.astype(np.float32), kind_d).transpose(1, 0, 2, 3, 4)
            d = np.ascontiguousarray(packed).view(np.uint32).reshape(2, m.threads)
        for target, values in zip(targets, np.ascontiguousarray(d).view(np.uint32), strict=True):
            np.copyto(target, values, where=where)

    return step


def _matrices(m: Machine, ins: Instruction) -> tuple[int, bool]:
    """Return how many 8 x 8 matrices are moved, and whether they are transposed."""
    count = next((int(part[1:]) for part in ins.op if part in ("x1", "x2", "x4")), None)
    if count is None or not ins.has("m8n8"):
        raise unsupported(ins)
    _require_whole_warps(m, ins)
    return count, ins.has("trans")


@instruction("ldmatrix")
def load_matrix(m: Machine, ins: Instruction) -> Step:
    """Compile ``ldmatrix.m8n8.b16``: lane 8 i + r gives the address of row r of matrix i."""
    count, transposed = _matrices(m, ins)
    address, W = m.address(ins.args[1]), m.warps
    targets = [m.registers.target(name, "b32") for name in vector(ins.args[0])]
    pointing = np.flatnonzero(m.lane < 8 * count)

    def step(where: Mask = True) -> None:
        threads = pointing if where is True else pointing[where[pointing]]
        _, offsets = m.place(address()[threads], 16, "shared", threads, ins)
        m.check_read(offsets, 16, threads, ins)
        rows = np.zeros((m.threads, 4), np.uint32)
        rows[threads] = m.shared.bytes.view(np.uint32)[(offsets >> 2)[:, None] + np.arange(4)]
        matrices = rows.reshape(W, 32, 4)[:, : 8 * count].reshape(W, count, 8, 4)
        if transposed:
            halves = matrices.view(np.uint16).swapaxes(2, 3)
            matrices = np.ascontiguousarray(halves).view(np.uint32)
        for i, target in enumerate(targets):
            np.copyto(target, matrices[:, i].reshape(-1), where=where)

    return step


@instruction("stmatrix")
def store_matrix(m: Machine, ins: Instruction) -> Step:
    """Compile ``stmatrix.m8n8.b16``, which stores what `load_matrix` loads."""
    count, transposed = _matrices(m, ins)
    address, W = m.address(ins.args[0]), m.warps
    sources = [m.registers.source(name, "b32") for name in vector(ins.args[1])]
    if len(sources) != count:
        raise unsupported(ins, f"{count} registers expected in {ins.args[1]}")
    pointing = np.flatnonzero(m.lane < 8 * count)

    def step(where: Mask = True) -> None:
        threads = pointing if where is True else pointing[where[pointing]]
        _, offsets = m.place(address()[threads], 16, "shared", threads, ins)
        matrices = np.empty((W, count, 8, 4), np.uint32)
        for i, source in enumerate(sources):
            matrices[:, i] = m.registers.spread(source).reshape(W, 8, 4)
        if transposed:
            halves = matrices.view(np.uint16).swapaxes(2, 3)
            matrices = np.ascontiguousarray(halves).view(np.uint32)
        rows = np.zeros((W, 32, 4), np.uint32)
        rows[:, : 8 * count] = matrices.reshape(W, 8 * count, 4)
        new = rows.reshape(m.threads, 4)[threads]
        m.check_write(offsets, 16, threads, new.view(np.uint8), ins)
        m.shared.bytes.view(np.uint32)[(offsets >> 2)[:, None] + np.arange(4)] = new

    return step
