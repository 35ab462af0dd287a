"""Rows of the attention kernels, counted in machine code; `triton_rules` judges them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import triton

from .rows import Row, Rows, Usage
from .sass import Loop, Program
from .triton_build import Binary, digest
from .triton_rules import problems
from .triton_variants import LAYOUTS, Variant
from .ttir import chained_products

COMPILER = f"Triton {triton.__version__}"
#: The instructions of each kind of product. UTC*MMA: one thread starts what a tensor core does.
PRODUCTS = {
    "wgmma": ("HGMMA",),
    "tcgen05": ("UTCHMMA", "UTCQMMA", "UTCIMMA", "UTCOMMA"),
    "mma.sync": ("HMMA",),
}
#: Products without tensor cores; FFMA2 does two at once.
SCALAR_PRODUCTS = ("FFMA", "FFMA2")
#: Loads that need an address for each thread.
_LOADS = ("LDG", "LDGSTS")
ASYNC_COPIES = ("LDGSTS", "UTMALDG", "UBLKCP")
#: Scalar multiply-adds that a loop has beside its products at most: softmax, addresses, the prior.
_FEW = 64
#: Of the hashes in the table; a change of a kernel changes hundreds of them.
_DIGITS = 4


def measure(binary: Binary, far_loops: int, loops_before: int = 0, specialized: str = "") -> Usage:
    """Take a compiled kernel apart; its ``longer`` is left 0.

    Parameters
    ----------
    far_loops
        How many far loops it has: the first ones that hold products, in the order of the code.
    loops_before
        How many others with products there are before those.
    specialized
        That of the configuration. Where warps are specialised, the far loop is one for each kind of
        warps, `specialized_loops`: copies are counted in the one that copies, ``far_loop`` is the
        longest.

    Raises
    ------
    ValueError
        If it has fewer loops with products than that.
    """
    report, program = binary.read()
    kinds = [kind for kind, names in PRODUCTS.items() if program.count(names)]
    found = product_loops(program, kinds)
    loops = found[loops_before:][:far_loops]
    if specialized:
        loops = specialized_loops(program)
    copying = [loop for loop in loops if not specialized or loop.count(ASYNC_COPIES)]
    if len(loops) < far_loops:
        raise ValueError(
            f"{binary.name} should have {loops_before + far_loops} far loops; with products there "
            f"are {len(found)}"
        )
    return Usage(
        registers=report.registers,
        shared=binary.shared_bytes,
        local=report.local,
        tensor_cores="+".join(sorted(kinds)),
        async_copies=min((loop.count(ASYNC_COPIES) for loop in copying), default=0),
        far_loop=max(map(len, loops), default=0),
        chained=len(chained_products(binary.ttir)),
    )


def product_loops(program: Program, kinds: list[str]) -> list[Loop]:
    """Return the innermost loops that hold products, in the order of the code."""
    floor = 0 if kinds else _FEW
    found = [loop for loop in program.loops() if count_products(loop, kinds) > floor]
    return [loop for loop in found if not any(other.body < loop.body for other in found)]


def specialized_loops(program: Program) -> list[Loop]:
    """Return the far loop's parts: one that copies tiles, and those that compute with them.

    They are innermost loops that wait at barriers in shared memory and load nothing by addresses:
    of those that copy, multiply and take exponentials the first of each, in the order of the code;
    others of that kind follow it, for near tiles, the band, or the same work for other rows.
    """
    products = tuple(name for names in PRODUCTS.values() for name in names)
    kinds = (("UTMALDG",), products, ("MUFU",), ("LDTM",))
    working = tuple(name for names in kinds for name in names)
    # Without those that only wait, which lie in others.
    loops = [loop for loop in program.loops() if loop.count(working) and loop.count(["SYNCS"])]
    inner = [loop for loop in loops if not any(other.body < loop.body for other in loops)]
    inner = [loop for loop in inner if not loop.count(_LOADS)]
    found: dict[int, Loop] = {}
    for names in kinds:
        matching = [loop for loop in inner if loop.count(names)]
        # With tensor memory sums are rescaled by warps of their own.
        for loop in matching if names == ("LDTM",) else matching[:1]:
            found[loop.head] = loop
    return [found[head] for head in sorted(found)]


def count_products(loop: Loop, kinds: list[str]) -> int:
    """Return how many instructions of these kinds a loop has; without any, multiply-adds."""
    if not kinds:
        return sum(loop.count([name]) * (i + 1) for i, name in enumerate(SCALAR_PRODUCTS))
    return sum(loop.count(PRODUCTS[kind]) for kind in kinds)


class Maker:
    """Makes rows, compiling only what ``known`` does not answer.

    Parameters
    ----------
    known
        Rows that may be out of date.
    progress
        Called with a line for each kernel that is compiled.
    """

    def __init__(self, known: Mapping[str, Row], progress: Callable[[str], None]) -> None:
        self._known = known
        self._progress = progress
        self._usages: dict[tuple[Variant, str], Usage] = {}
        self._intermediates: dict[tuple[Variant, str], str] = {}

    def rows(self, variants: Iterable[Variant]) -> Rows:
        """Return the rows of these variants."""
        return {variant.name: self._row(variant) for variant in variants}

    def usage(self, variant: Variant, layout: str) -> Usage:
        """Compile a variant for a layout, and without a prior what it is compared with."""
        found = self._compiled(variant, layout)
        if variant.far_loops:
            plain = self._compiled(variant.without_prior(), layout)
            found = replace(found, longer=found.far_loop - plain.far_loop)
        return found

    def _row(self, variant: Variant) -> Row:
        source, old = source_hash(variant), self._known.get(variant.name)
        if old is not None and old.source == source:
            return old
        intermediate = self.intermediate_hash(variant)
        if old is not None and old.intermediate == intermediate:
            return replace(old, source=source)
        usages = tuple(self.usage(variant, layout) for layout in LAYOUTS)
        return Row(usages, source, intermediate)

    def _compiled(self, variant: Variant, layout: str) -> Usage:
        if (variant, layout) not in self._usages:
            binary = variant.build(layout).compile()
            usage = measure(
                binary, variant.far_loops, variant.loops_before, variant.config.specialized
            )
            self._progress(f"{variant.name} {layout}: {usage}")
            self._usages[variant, layout] = usage
        return self._usages[variant, layout]

    def intermediate_hash(self, variant: Variant) -> str:
        """Return a hash of all that a row's figures depend on."""
        compiled = [variant, variant.without_prior()] if variant.far_loops else [variant]
        parts = []
        for place in itertools.product(compiled, LAYOUTS):
            if place not in self._intermediates:
                self._intermediates[place] = place[0].build(place[1]).intermediate_hash()
            parts.append(self._intermediates[place])
        return digest(parts)[:_DIGITS]


def source_hash(variant: Variant) -> str:
    """Return a hash of all text that a row depends on; nothing is compiled for it."""
    return digest([variant.build(layout).fingerprint for layout in LAYOUTS])[:_DIGITS]


def row_problems(variant: Variant, row: Row) -> list[str]:
    """Return everything that forbids shipping a variant; nothing if all is well."""
    return [
        f"{layout}: {problem}"
        for layout, usage in zip(LAYOUTS, row.usages, strict=True)
        for problem in problems(variant, usage)
    ]
