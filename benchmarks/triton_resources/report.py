"""The table as a page for readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import triton
from ladnet_fast.kernels.locality_attention.configs import (
    HEAD_SIZES,
    PRECISIONS,
    SHARED_BYTES,
    Config,
)

from ladnet_fast._files import atomic_write_text

from .table import (
    COMMAND,
    LONGER_IN_TF32_LOGIT,
    LONGEST_FAR_LOOP,
    MMA_SYNC_IN_16_BIT_LOGIT,
    MMA_SYNC_IN_TF32,
    PATH,
    Row,
)
from .variants import ARCHITECTURES, MODES, Variant

PAGE = PATH.with_suffix(".md")
_INTRODUCTION = """\
# What the Triton kernels cost, by their machine code

Written by `{command}` from Triton {triton}, without a GPU: every
configuration that is shipped is compiled ahead of time, and its machine code is counted. The tests
compare [triton-resources.json](triton-resources.json), which has all figures, with the kernels, so
it can't go stale. Nothing here is a time.

Each entry has to keep its registers (no `STL` or `LDL` instruction), fit the shared memory of the
architecture, multiply on tensor cores of the right kind (IEEE fp32 has none), and load
asynchronously in the loop over tiles far from the diagonal. A turn of that loop may have at most
{additive} times the instructions of the same kernel with `prior="none"` (additive), {logit} times
(logit).

"""
_LEGEND = """\
Kernels are compiled for bags of one length (dense), padded and packed; the largest figures are
shown. An entry: block_m x block_n / block_band, warps (w), stages (s); registers of a thread (r);
shared memory of a block (K, in KiB); instructions of a turn of the far loop (i), and their ratio to
those of `prior="none"`. "inference" is the additive forward pass that keeps no softmax share for a
backward pass.
"""

Table = Mapping[Variant, Row]


def write(rows: Table) -> None:
    """Write the page, atomically."""
    atomic_write_text(PAGE, render(rows))


def render(rows: Table) -> str:
    """Return the page."""
    introduction = _INTRODUCTION.format(
        command=COMMAND, triton=triton.__version__, **LONGEST_FAR_LOOP
    )
    parts = [introduction + "\n".join(_exceptions()), "\n".join(_summary(rows)) + "\n", _LEGEND]
    for architecture in ARCHITECTURES:
        for precision in PRECISIONS:
            chosen = {
                v: r
                for v, r in rows.items()
                if (v.architecture, v.precision) == (architecture, precision)
            }
            if chosen:
                lines = _section(chosen)
                parts.append("\n".join([f"## sm_{architecture}, {precision}", "", *lines, ""]))
    return "\n".join(parts)


def _exceptions() -> Iterator[str]:
    """Yield the rules' exceptions, as :mod:`.table` holds them."""
    yield "Exceptions:\n"
    for precision, places in (
        ("tf32", MMA_SYNC_IN_TF32),
        ("bf16 and fp16, logit", MMA_SYNC_IN_16_BIT_LOGIT),
    ):
        for architecture, kernel, size in sorted(places):
            yield (
                f"- sm_{architecture}, {precision}, {kernel}, d = {size}: mma.sync; the newer "
                "instructions take 64 rows at once, and that many spill."
            )
    for (architecture, kernel, size), longest in sorted(LONGER_IN_TF32_LOGIT.items()):
        yield (
            f"- sm_{architecture}, tf32, logit, {kernel}, d = {size}: a far loop of up to "
            f"{longest} times; no configuration with tiles as large has a shorter one."
        )
    yield ""


def _summary(rows: Table) -> Iterator[str]:
    modes = [f"longest far loop, {mode}" for mode in LONGEST_FAR_LOOP]
    head = ["", "entries", "tensor cores", "most shared memory", *modes]
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for architecture in ARCHITECTURES:
        chosen = {v: r for v, r in rows.items() if v.architecture == architecture}
        if not chosen:
            continue
        kinds = sorted({r.resources.tensor_cores for r in chosen.values()} - {""})
        shared = max(r.resources.shared_bytes for r in chosen.values()) / 1024
        limit = SHARED_BYTES[architecture] // 1024
        ratios = (_longest(chosen, mode) for mode in LONGEST_FAR_LOOP)
        cells = (
            f"sm_{architecture}", str(len(chosen)), ", ".join(kinds),
            f"{shared:.0f} of {limit} KiB", *ratios,
        )  # fmt: skip
        yield f"| {' | '.join(cells)} |"


def _longest(rows: Table, mode: str) -> str:
    ratios = [r.far_loop_ratio for v, r in rows.items() if v.mode == mode and v.far_loops]
    return f"{max(ratios):.3f}" if ratios else ""


def _section(rows: Table) -> Iterator[str]:
    yield f"| | {' | '.join(f'd = {size}' for size in HEAD_SIZES)} |"
    yield "|---" * (len(HEAD_SIZES) + 1) + "|"
    for kernel, modes in MODES.items():
        for mode in modes:
            cells = []
            for size in HEAD_SIZES:
                found: dict[Config, list[tuple[Variant, Row]]] = {}
                for v, row in rows.items():
                    if (v.kernel, v.mode, v.head_size) == (kernel, mode, size):
                        found.setdefault(v.config, []).append((v, row))
                cells.append("<br>".join(_entry(some) for some in found.values()))
            yield f"| {kernel}, {mode} | {' | '.join(cells)} |"


def _entry(compiled: list[tuple[Variant, Row]]) -> str:
    """Describe what one configuration was compiled to for every layout: the largest figures."""
    variant = compiled[0][0]
    registers = max(row.resources.registers for _, row in compiled)
    shared = max(row.resources.shared_bytes for _, row in compiled)
    text = f"{variant.config} {registers} r {shared / 1024:.0f} K"
    if variant.far_loops:
        text += f" {max(row.resources.far_loop for _, row in compiled)} i"
        if variant.prior != "none":
            text += f" {max(row.far_loop_ratio for _, row in compiled):.3f}"
    return text
