"""The table as a page of the docs."""

from __future__ import annotations

from typing import Any

from . import traffic
from .build import ROOT
from .occupancy import MULTIPROCESSORS
from .table import COMMAND

PAGE = ROOT / "docs" / "cuda-resources.md"

#: Name, features and bytes of each; then strips as short and as long as they get.
_ROWS = (("128 fp32", 128 * 4), ("1024 fp32", 1024 * 4), ("1024 bf16", 1024 * 2))
_STRIPS = (4, 32, 64)


def render(table: dict[str, Any]) -> str:
    """Return the page in Markdown."""
    uses = [kernel[arch] for kernel in table["kernels"].values() for arch in MULTIPROCESSORS]
    local = sum(use["stack"] + use["local_accesses"] for use in uses)
    return _PAGE.format(
        command=COMMAND, nvcc=table["nvcc"], local=local, kernels=len(table["kernels"]),
        architectures=", ".join(MULTIPROCESSORS), resources=_resources(table["kernels"]),
        traffic=_traffic(),
    )  # fmt: skip


def _resources(kernels: dict[str, Any]) -> str:
    rows = []
    for name, kernel in kernels.items():
        uses = [kernel[arch] for arch in MULTIPROCESSORS]
        rows.append([
            f"`{name}`", kernel["threads"], _range(use["shared"] for use in uses),
            _range(use["vector_loads"] for use in uses),
            _range(use["vector_stores"] for use in uses),
            *(f"{use['registers']}, {use['resident_percent']:.3g} %" for use in uses),
        ])  # fmt: skip
    head = ["kernel", "threads", "shared", "loads", "stores", *MULTIPROCESSORS]
    return _markdown(head, rows)


def _traffic() -> str:
    rows = []
    for name, row in _ROWS:
        for strip in _STRIPS:
            moved = traffic.forward(row, strip) + traffic.backward(row, strip)
            least = traffic.least(row)
            rows.append([
                name, strip, f"{moved.read:,.0f}", f"{moved.written:,.0f}", f"{least.read:,.0f}",
                f"{least.written:,.0f}", f"{moved.total / least.total:.3f}",
            ])  # fmt: skip
    head = ["C", "n", "read", "written", "least read", "least written", "ratio"]
    return _markdown(head, rows)


def _range(values: Any) -> str:
    return " / ".join(map(str, sorted(set(values))))


def _markdown(head: list[str], rows: list[list[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)


_PAGE = """\
# Resources of the CUDA kernels

Written by `{command}`, which builds `ladnet_fast._cuda` with
nvcc {nvcc} for {architectures} and reads the machine code with cuobjdump and
nvdisasm. No GPU is involved, and nothing here is a timing. The tests build the module again,
compare every number with [cuda-resources.json](cuda-resources.json), and name what got worse.

Bytes of local memory and instructions that touch it, all {kernels} kernels and architectures
together: {local}.

- Under an architecture: registers a thread, and how much of a multiprocessor's warps they, shared
  memory and the block's size allow to be resident (theoretical occupancy).
- shared: bytes a block.
- loads, stores: global accesses of 16 bytes in loops. `Shape<F, l, v>` is a row of up to l v
  features of type F, v of them in the registers of each of l lanes. v sizeof(F) / 16 loads a lane
  bring every byte of a row in once, and as many stores write its gradient.

The kernels that touch features want bytes in flight rather than warps: a warp has whole rows in its
registers, and asks for all of the next one at once.

{resources}

## Bytes moved a snippet

A group of lanes walks through a strip of n snippets and reads each row once. Rows at the seams, one
(forward) or two (backward) a strip, are read by the neighbour, too, mostly from the second-level
cache. The library chooses n = snippets / 16,384, at least 4 and at most 64. With rows of r bytes:

| | read | written |
|---|---|---|
| `dynamics_kernel` | r (1 + 1/n) | 4 |
| top-k of scores and dynamics | 4 (and 36 more of the same, from caches) | |
| `finish_kernel` | 8 | 12 |
| `gradient_kernel` | r (1 + 2/n) + 20 | r + 4 |
| the least possible, forward | r + 4 | 16 |
| the least possible, backward | r + 20 | r + 4 |

Both passes together:

{traffic}
"""
