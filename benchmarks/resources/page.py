"""The table as a page for readers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ladnet_fast._files import atomic_write_text
from ladnet_fast.kernels.locality_attention.configs import (
    HEAD_SIZES,
    SHARED_BYTES,
    SHORT_BACKWARD,
)

from ..templating import environment
from . import triton_rules
from .cuda_rows import ARCHITECTURES
from .rows import COMMAND, PATH, Rows, Table, Usage, read

PAGE = PATH.with_suffix(".md")
#: Both have the same configurations, and nearly the same figures.
_PRECISIONS = {"bf16": "bf16 and fp16", "fp16": "bf16 and fp16"}


class _Place(NamedTuple):
    """The words of the name of a Triton kernel's row."""

    architecture: str
    precision: str
    kernel: str
    mode: str
    head_size: str
    config: str


_Usages = dict[_Place, tuple[Usage, ...]]
_Cells = list[list[Any]]  # of a table, the head first


def write() -> None:
    """Write the page from the table, atomically; nothing before both compilers have their part."""
    tables = read()
    if tables.keys() >= {"triton", "cuda"}:
        atomic_write_text(PAGE, render(tables))


def render(tables: Mapping[str, Table]) -> str:
    """Return the page in Markdown."""
    attention = {_Place(*name.split(" ")): r.usages for name, r in tables["triton"].rows.items()}
    sections: dict[str, _Usages] = {}
    for place, usages in attention.items():
        precision = _PRECISIONS.get(place.precision, place.precision)
        sections.setdefault(f"{place.architecture}, {precision}", {})[place] = usages
    pages = environment(trim=False)
    return pages.get_template("gpu-resources.md.j2").render(
        command=COMMAND,
        triton=tables["triton"],
        cuda=tables["cuda"],
        longest_far_loop=triton_rules.LONGEST_FAR_LOOP,
        mma_sync={
            "tf32": triton_rules.MMA_SYNC_IN_TF32,
            "bf16 and fp16, logit": triton_rules.MMA_SYNC_IN_16_BIT_LOGIT,
        },
        longer_in_tf32_logit=triton_rules.LONGER_IN_TF32_LOGIT,
        summary=_summary(attention),
        older=_older(tables["triton"]),
        sections={title: _section(rows) for title, rows in sections.items()},
        architectures=ARCHITECTURES,
        losses=_losses(tables["cuda"].rows),
    )


def _summary(attention: _Usages) -> _Cells:
    longest = [f"longest far loop, {mode}" for mode in triton_rules.LONGEST_FAR_LOOP]
    cells: _Cells = [["", "kernels", "tensor cores", "most shared memory", *longest]]
    for number, limit in SHARED_BYTES.items():
        usages_of_all: list[Usage] = []
        by_mode: dict[str, list[Usage]] = {}
        for place, usages in attention.items():
            if place.architecture == f"sm_{number}":
                usages_of_all += usages
                if place.kernel != SHORT_BACKWARD:  # whose loop holds near tiles too
                    by_mode.setdefault(place.mode, []).extend(usages)
        kinds = sorted({usage.tensor_cores for usage in usages_of_all} - {""})
        shared = max((usage.shared for usage in usages_of_all), default=0) / 1024
        ratios = (
            max((usage.far_loop_ratio for usage in by_mode.get(mode, [])), default=1.0)
            for mode in triton_rules.LONGEST_FAR_LOOP
        )
        cells.append([
            f"sm_{number}", len(usages_of_all), ", ".join(kinds),
            f"{shared:.0f} of {limit // 1024} KiB", *(f"{ratio:.3f}" for ratio in ratios),
        ])  # fmt: skip
    return cells


class _Older(NamedTuple):
    """What the older Triton makes of the kernels that it was given."""

    kernels: int
    refused: int
    """Those that it can't compile."""
    spilling: list[str]
    too_large: list[str]


def _older(triton: Table) -> _Older:
    looked_at = {name: row for name, row in triton.rows.items() if row.older}
    spilling, too_large = {}, {}
    for name, row in looked_at.items():
        shared, local = row.older_shared_and_local or (0, 0)
        if local:
            spilling[name] = local
        if shared > SHARED_BYTES[int(name.split(" ")[0].removeprefix("sm_"))]:
            too_large[name] = shared
    return _Older(
        kernels=len(looked_at),
        refused=sum(row.older_shared_and_local is None for row in looked_at.values()),
        spilling=[f"`{name}`: {size} bytes" for name, size in spilling.items()],
        too_large=[f"`{name}`: {size / 1024:.0f} KiB" for name, size in too_large.items()],
    )


def _section(attention: _Usages) -> _Cells:
    cells: _Cells = [["", *(f"d = {size}" for size in HEAD_SIZES)]]
    for kernel, mode in dict.fromkeys((place.kernel, place.mode) for place in attention):
        row = [f"{kernel}, {mode}"]
        for size in HEAD_SIZES:
            found: dict[str, list[Usage]] = {}
            for place, usages in attention.items():
                if (place.kernel, place.mode, place.head_size) == (kernel, mode, f"d{size}"):
                    found.setdefault(place.config, []).extend(usages)
            row.append("<br>".join(_entry(config, mode, some) for config, some in found.items()))
        cells.append(row)
    return cells


def _entry(config: str, mode: str, usages: list[Usage]) -> str:
    """Describe what one configuration was compiled to: the largest figures."""
    registers, shared, far_loop, ratio = (
        max(getattr(usage, column) for usage in usages)
        for column in ("registers", "shared", "far_loop", "far_loop_ratio")
    )
    text = f"{config} {registers} r {shared / 1024:.0f} K"
    if far_loop:
        text += f" {far_loop} i" + ("" if mode == "none" else f" {ratio:.3f}")
    return text


def _losses(rows: Rows) -> _Cells:
    cells: _Cells = [["kernel", "threads", "shared", "loads", "stores", *ARCHITECTURES]]
    for kernel in dict.fromkeys(name.partition(" ")[2] for name in rows):
        usages = [rows[f"{architecture} {kernel}"].usages[0] for architecture in ARCHITECTURES]
        ranges = (
            " / ".join(map(str, sorted({getattr(usage, column) for usage in usages})))
            for column in ("threads", "shared", "vector_loads", "vector_stores")
        )
        cells.append([f"`{kernel}`", *ranges, *(usage.registers for usage in usages)])
    return cells
