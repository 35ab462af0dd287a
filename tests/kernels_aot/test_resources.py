"""Counting in machine code what a kernel costs."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")

from benchmarks import sass
from benchmarks.triton_resources.resources import Resources, measure

from .listings import program


@dataclass
class Compiled:
    """What :func:`measure` asks of a binary."""

    code: str
    name: str = "kernel"
    shared_bytes: int = 1024

    def usage(self) -> tuple[int, int]:
        return 128, 16

    def program(self) -> sass.Program:
        return program(self.code)


def loop(label: int, *instructions: str) -> str:
    return "\n".join([f".L_x_{label}:", *instructions, f"@P0 BRA `(.L_x_{label})"])


HMMA, HGMMA = "HMMA.16816.F32.BF16 R4, R8, R12, R4", "HGMMA.64x128x16.F32.BF16 R24, gdesc[UR4]"
COPY, FFMA = "LDGSTS.E.BYPASS.128 [R3], [R4.64]", "FFMA R1, R2, R3, R1"


def test_the_first_loops_with_products_are_the_far_ones():
    code = "\n".join(
        [
            loop(0, "NOP"),  # a search for the bag
            loop(1, COPY, HMMA, HMMA, "NOP"),
            loop(2, COPY, COPY, HMMA, HMMA),
            loop(3, HMMA, HMMA, *["MUFU.EX2 R1, R2"] * 9),  # the band
            "STL [R1], R2",
            "LDL.LU R2, [R1]",
            "EXIT",
        ]
    )
    # The longest of the two, and the fewest copies.
    expected = Resources(
        registers=128, spills=2, local_bytes=16, shared_bytes=1024, tensor_cores="mma.sync",
        products=2, async_copies=1, far_loop=5,
    )  # fmt: skip
    assert measure(Compiled(code), far_loops=2) == expected


def test_a_waiting_loop_inside_of_a_far_loop_is_part_of_it():
    code = "\n".join([loop(0, HGMMA, COPY, loop(1, "NOP"), "NOP"), "EXIT"])
    found = measure(Compiled(code), far_loops=1)
    assert (found.tensor_cores, found.far_loop, found.products) == ("wgmma", 6, 1)


def test_kinds_of_tensor_cores_are_those_of_the_whole_kernel():
    code = "\n".join([loop(0, COPY, HGMMA), HMMA, "EXIT"])
    assert measure(Compiled(code), far_loops=1).tensor_cores == "mma.sync+wgmma"
    code = "\n".join([loop(0, "UTCHMMA gdesc[UR4], gdesc[UR6], tmem[UR8]"), "EXIT"])
    assert measure(Compiled(code), far_loops=1).tensor_cores == "tcgen05"


def test_without_tensor_cores_products_are_multiply_adds():
    far = loop(1, COPY, *[FFMA] * 300, *["FFMA2 R4, R6, R8, R4"] * 10)
    found = measure(Compiled("\n".join([loop(0, *[FFMA] * 20), far, "EXIT"])), far_loops=1)
    assert (found.tensor_cores, found.products, found.async_copies) == ("", 320, 1)


def test_no_far_loop_asked_for_and_too_few_found():
    code = "\n".join([loop(0, COPY, HMMA), "EXIT"])
    found = measure(Compiled(code), far_loops=0)
    assert (found.products, found.async_copies, found.far_loop) == (0, 0, 0)
    with pytest.raises(ValueError, match=r"kernel should have 2 far loops; with products .* 1"):
        measure(Compiled(code), far_loops=2)
