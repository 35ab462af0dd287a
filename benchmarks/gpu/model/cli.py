"""Command line of the model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

PROGRAM = "python -m benchmarks.gpu model"


def main(arguments: Sequence[str]) -> int:
    """Write the page, or compare it; return the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Write docs/gpu-model.md: what the kernels ought to take on GPUs, by "
        "arithmetic. Needs no GPU.",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; is the page current?")
    parser.add_argument("--output", type=Path, help="another file")
    chosen = parser.parse_args(arguments)

    from ladnet_fast._files import atomic_write_text

    from . import page

    path = chosen.output or page.PATH
    text = page.render()
    if not chosen.check:
        atomic_write_text(path, text)
        print(f"written: {path}")
        return 0
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        print(f"{path} is current")
        return 0
    print(f"{path} is not what the model makes of the kernels now; write it again with: {PROGRAM}")
    return 1
