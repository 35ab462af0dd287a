"""Small pieces of machine code in the form of nvdisasm's output."""

from __future__ import annotations

import textwrap

from benchmarks.resources import sass


def program(code: str, kernel: str = "kernel") -> sass.Program:
    """Number the lines of a listing and give it nvdisasm's frame."""
    lines = [f'\t.section\t.text.{kernel},"ax",@progbits', f".text.{kernel}:"]
    address = 0
    for line in textwrap.dedent(code).strip().splitlines():
        if line.endswith(":"):
            lines.append(line)
        else:
            lines.append(f"        /*{address:04x}*/                   {line} ;")
            address += 16
    return sass.parse("\n".join(lines), kernel)
