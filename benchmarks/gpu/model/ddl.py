"""The DDL losses: launches and grids as csrc/cuda/ddl_plan.h has them, bytes as its README.md."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton

from . import resources
from .attention import PRECISIONS
from .chips import Chip
from .timing import Block, Kernel

_TYPES = {"bf16": "BFloat16", "fp16": "Float16", "fp32": "float"}
#: Instructions for each value of a row, and for the row: counted in the source. Forward: a
#: conversion, a square, a product, a difference and its square; sums over lanes, the place in the
#: bag. Backward: the two differences, their sums with u, and a store.
_INSTRUCTIONS = {"forward_kernel": (5, 60), "gradient_kernel": (10, 90)}
#: Passes of the radix select over the keys, one for each digit of 8 bits, and one that adds up.
_PASSES = 5
#: Loads that wait for each other in a pass: keys, the histogram, the digit.
_PASS_TRIPS = 3


@dataclass(frozen=True)
class Plan:
    """What ``make_plan`` makes of a batch of N bags of T snippets with C features."""

    lanes: int
    values: int
    slots: int
    split: bool
    strip: int
    feature_blocks: int
    part_size: int
    parts: int
    backward_strip: int
    backward_blocks: int

    @property
    def threads(self) -> int:
        """Of a block of the forward pass."""
        return 128 if self.values > 16 else 256

    @property
    def rounds(self) -> int:
        """Launches of the forward kernel."""
        return _PASSES if self.split else 1

    def selecting(self, N: int, turn: int) -> int:
        """Return the blocks of a launch that look for the largest scores and dynamics."""
        return (2 * self.slots if self.split else 0) + (2 * N if turn == 0 else 0)

    def walking(self, turn: int) -> int:
        """Return the blocks of a launch that walk over features."""
        dealt = [self.feature_blocks * i // self.rounds for i in (turn, turn + 1)]
        return dealt[1] - dealt[0]


def make_plan(N: int, T: int, C: int, multiprocessors: int) -> Plan:
    """Return how a call is cut; what csrc/cuda/ddl_plan.h says, line by line."""
    shapes = ((8, 16), (32, 16), (32, 32), (128, 32))
    lanes, values = next(shape for shape in shapes if shape[0] * shape[1] >= C)
    wide = values > 16
    snippets = N * T
    cdiv = triton.cdiv
    chunk = max(16_384, 16_384 * cdiv(cdiv(T, 128), 16_384))
    slots, split = N * cdiv(T, chunk), chunk < T
    threads = 128 if wide else 256
    groups = threads // lanes
    held = multiprocessors * (512 if wide else 768) // threads
    selecting = 2 * slots if split else 2 * N
    blocks = (_PASSES if split else 1) * max(held - selecting, held // 2)

    def strip_for(count: int) -> int:
        return min(max(cdiv(snippets, max(count, 1)), 2), 64)

    strip = strip_for(blocks * groups)
    part_size = 128 * cdiv(cdiv(snippets, 768), 128)
    backward = strip_for(multiprocessors * (256 if wide else 512) // lanes)
    return Plan(
        lanes, values, slots, split, strip, cdiv(cdiv(snippets, strip), groups), part_size,
        cdiv(snippets, part_size), backward, cdiv(cdiv(snippets, backward), 128 // lanes),
    )  # fmt: skip


def kernels(N: int, T: int, C: int, dtype: torch.dtype, backward: bool, chip: Chip) -> list[Kernel]:
    """Return the launches of a call on N bags of T snippets with C features, in their order."""
    precision, snippets = PRECISIONS[dtype], N * T
    row = float(C * dtype.itemsize)
    plan = make_plan(N, T, C, chip.multiprocessors)
    shape = f"Shape<{_TYPES[precision]}, {plan.lanes}, {plan.values}>"

    def kernel(name: str, threads: int, bytes_: float, *blocks: Block) -> Kernel:
        usage = resources.cuda(f"sm_{chip.architecture} {name}")
        return Kernel(
            name, f"{threads} threads", precision, threads, usage.registers, usage.shared, bytes_,
            tuple(block for block in blocks if block.count),
        )  # fmt: skip

    def walk(name: str, count: int, strip: int, more: int, threads: int) -> Block:
        # The next row is on its way while one is computed with: a latency for the first one alone.
        each, whole = _INSTRUCTIONS[name]
        rows = (strip + more) * threads / plan.lanes
        issued = (strip + more) * (each * plan.values + whole) * threads / 32
        return Block(count, instructions=issued, l2_bytes=rows * row, trips=3)

    found = []
    chunk = min(T, 16_384 * triton.cdiv(triton.cdiv(T, 128), 16_384))
    for turn in range(plan.rounds):
        walking = plan.walking(turn)
        share = walking / plan.feature_blocks
        passes = 1 if plan.split else _PASSES
        select = Block(
            plan.selecting(N, turn), l2_bytes=4.0 * chunk * passes, trips=_PASS_TRIPS * passes
        )
        features = walk("forward_kernel", walking, plan.strip, 1, plan.threads)
        moved = share * snippets * (row * (1 + 1 / plan.strip) + 4)
        scores = 4.0 * snippets if turn == 0 else 0.0
        found.append(
            kernel(f"forward_kernel<{shape}>", plan.threads, moved + scores, select, features)
        )
    # Up to 256 bags every block of the last launch judges them all by itself.
    judges = N <= 256
    if not judges:
        found.append(kernel("judge_kernel<false>", 512, 64.0 * N, Block(1, trips=6)))
    finish = f"finish_kernel<{str(backward).lower()}, {str(judges).lower()}>"
    bytes_ = snippets * (20.0 if backward else 8.0)
    part = Block(plan.parts, l2_bytes=plan.part_size * 20.0, trips=8)
    found.append(kernel(finish, 128, bytes_, part))
    if backward:
        moved = snippets * (row * (1 + 2 / plan.backward_strip) + 20 + row + 4)
        block = walk("gradient_kernel", plan.backward_blocks, plan.backward_strip, 2, 128)
        found.append(kernel(f"gradient_kernel<{shape}>", 128, moved, block))
    return found
