"""Machine code for one architecture, read by NVIDIA's own tools."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import sass
from .tools import disassembler, run

_REPORT = re.compile(r"Function (\S+):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")


@dataclass(frozen=True)
class Report:
    """What ``cuobjdump --dump-resource-usage`` says of a kernel."""

    registers: int
    """Of a thread."""
    shared: int
    """Bytes of a block that the code names; a launch may ask for more."""
    local: int
    """Bytes of a thread in local memory: its stack, which has the registers that are spilled."""


def parse_reports(printed: str) -> dict[str, Report]:
    """Read what cuobjdump printed: the report of each kernel by its name in the file."""
    found = {}
    for kernel, *numbers in _REPORT.findall(printed):
        registers, stack, shared, local = map(int, numbers)
        found[kernel] = Report(registers, shared, stack + local)
    return found


def read_reports(cubin: Path, *, triton_first: bool = False) -> dict[str, Report]:
    """Return cuobjdump's report of every kernel of a file; arguments as in `read`."""
    cuobjdump = disassembler("cuobjdump", triton_first=triton_first)
    return parse_reports(run(cuobjdump, "--dump-resource-usage", str(cubin)))


def read(cubin: Path, *, triton_first: bool = False) -> Iterator[tuple[str, Report, sass.Program]]:
    """Yield every kernel of a file: its name there, cuobjdump's report, and its instructions.

    ``triton_first`` takes the tools that triton brings before those on PATH.
    """
    reports = read_reports(cubin, triton_first=triton_first)
    nvdisasm = disassembler("nvdisasm", triton_first=triton_first)
    listing = run(nvdisasm, "-c", str(cubin)) if reports else ""
    for kernel, report in reports.items():
        yield kernel, report, sass.parse(listing, kernel)
