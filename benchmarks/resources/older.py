"""The same kernels with an older release of Triton: what they take of shared memory, what spills.

The package lies in a folder of its own, in front of the installed one:

    pip install --no-deps --target build/triton-3.6.0 triton==3.6.0

A second process compiles with it; torch and everything else are those that are installed. Of each
row it compiles the layout of bags that takes the most registers with the installed release.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from .rows import Row, Rows
from .tools import ROOT

_SAME, _NONE = "=", "-"


def looked_at(row: Row) -> bool:
    """Return whether a row has figures of the older release."""
    return bool(row.older)


def without_older(row: Row) -> Row:
    """Return a row without the figures of an older release."""
    return replace(row, older="")


def release(folder: Path) -> str:
    """Return the compiler of a folder, e.g. "Triton 3.6.0".

    Raises
    ------
    ValueError
        If there is no Triton in the folder.
    """
    if not (folder / "triton" / "__init__.py").is_file():
        raise ValueError(
            f"{folder} has no package triton: pip install --no-deps --target {folder} triton==3.6.0"
        )
    code = "import triton; print(triton.__version__)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=_environment(folder), capture_output=True, text=True, check=True
    )
    return f"Triton {done.stdout.strip()}"


def add(
    known: Mapping[str, Row], names: Iterable[str], folder: Path, progress: Callable[[str], None]
) -> Rows:
    """Return the named rows with the figures of the Triton in a folder.

    Parameters
    ----------
    known
        The rows as the installed release made them.
    names
        Which of them to compile.
    folder
        What `release` takes.
    progress
        Called with a line for each kernel that is compiled.
    """
    wanted = {name: known[name].heaviest for name in names}
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, *(f"{name} {i}" for name, i in wanted.items())],
        env=_environment(folder), cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    found: dict[str, str] = {}
    assert process.stdout is not None
    for line in process.stdout:
        name, _, figures = line.rstrip("\n").rpartition(": ")
        progress(f"{name}, older Triton: {figures}")
        found[name] = figures
    if process.wait():
        raise RuntimeError(f"compiling with the Triton in {folder} failed; its message is above")
    rows = {}
    for name, i in wanted.items():
        usage = known[name].usages[i]
        same = found[name] == f"{usage.shared}/{usage.local}"
        rows[name] = replace(known[name], older=_SAME if same else found[name])
    return rows


def _environment(folder: Path) -> dict[str, str]:
    path = os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path}


def _compile(wanted: list[str]) -> None:
    """Print a line for each kernel, in the other process; its name comes with a layout's number."""
    from triton.runtime.errors import PTXASError

    from .triton_variants import LAYOUTS, shipped

    variants = {variant.name: variant for variant in shipped()}
    for entry in wanted:
        name, _, i = entry.rpartition(" ")
        try:
            binary = variants[name].build(LAYOUTS[int(i)]).compile()
        except PTXASError:  # the assembler that it brings does not know the GPU
            print(f"{name}: {_NONE}", flush=True)
        else:
            print(f"{name}: {binary.shared_bytes}/{binary.report().local}", flush=True)


if __name__ == "__main__":
    _compile(sys.argv[1:])
