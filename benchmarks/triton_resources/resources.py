"""What a compiled kernel costs, counted in its machine code."""

from __future__ import annotations

from dataclasses import dataclass

from ..sass import Loop, Program
from .toolchain import Binary

SPILLS = ("STL", "LDL")
#: The instructions of each kind of product. UTC*MMA: one thread starts what a tensor core does.
PRODUCTS = {
    "wgmma": ("HGMMA",),
    "tcgen05": ("UTCHMMA", "UTCQMMA", "UTCIMMA", "UTCOMMA"),
    "mma.sync": ("HMMA",),
}
#: Products without tensor cores; FFMA2 does two at once.
SCALAR_PRODUCTS = ("FFMA", "FFMA2")
ASYNC_COPIES = ("LDGSTS", "UTMALDG", "UBLKCP")
#: Scalar multiply-adds that a loop has beside its products at most: softmax, addresses, the prior.
_FEW = 64


@dataclass(frozen=True)
class Resources:
    """Counts of instructions are static; ``far_loop`` is the longest of the far loops.

    ``products`` and ``async_copies`` are those of one turn of it. Where there is no far loop (the
    preprocess kernel) these three are 0.
    """

    registers: int
    spills: int  # instructions that store or load local memory
    local_bytes: int
    shared_bytes: int
    tensor_cores: str  # kinds in the whole kernel: "wgmma", "mma.sync+wgmma", "" if none
    products: int
    async_copies: int
    far_loop: int


def measure(binary: Binary, far_loops: int) -> Resources:
    """Take a compiled kernel apart.

    Parameters
    ----------
    far_loops
        How many far loops it has: the first ones that hold products, in the order of the code.

    Raises
    ------
    ValueError
        If it has fewer loops with products than that.
    """
    program = binary.program()
    registers, local_bytes = binary.usage()
    kinds = [kind for kind, names in PRODUCTS.items() if program.count(names)]
    loops = _product_loops(program, kinds)[:far_loops]
    if len(loops) < far_loops:
        raise ValueError(
            f"{binary.name} should have {far_loops} far loops; with products there are {len(loops)}"
        )
    longest = max(loops, key=len, default=None)
    return Resources(
        registers=registers,
        spills=program.count(SPILLS),
        local_bytes=local_bytes,
        shared_bytes=binary.shared_bytes,
        tensor_cores="+".join(sorted(kinds)),
        products=0 if longest is None else count_products(longest, kinds),
        async_copies=min((loop.count(ASYNC_COPIES) for loop in loops), default=0),
        far_loop=0 if longest is None else len(longest),
    )


def count_products(loop: Loop, kinds: list[str]) -> int:
    """Return the products of a loop's turn: tensor-core instructions, else multiply-adds."""
    if not kinds:
        return sum(loop.count([name]) * (i + 1) for i, name in enumerate(SCALAR_PRODUCTS))
    return sum(loop.count(PRODUCTS[kind]) for kind in kinds)


def _product_loops(program: Program, kinds: list[str]) -> list[Loop]:
    """Return the innermost loops that hold products, in the order of the code."""
    floor = 0 if kinds else _FEW
    found = [loop for loop in program.loops() if count_products(loop, kinds) > floor]
    return [loop for loop in found if not any(other.body < loop.body for other in found)]
