"""Rows of the CUDA module's kernels, and what each has to keep."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path

from . import cubins, sass
from .cuda_build import compiler
from .rows import Row, Rows, Table, Usage
from .tools import disassembler, run

#: What the module is built for; elsewhere it runs as PTX.
ARCHITECTURES = ("sm_80", "sm_90", "sm_100", "sm_120")
#: From compute capability 9 on, the report counts in what the system keeps of shared memory.
_SYSTEM_SHARED = 1024


def make(module: Path) -> Table:
    """Return the table of a compiled module."""
    threads = parse_threads(run(_cuobjdump(), "-ptx", str(module)))
    names = readable_names(threads)
    rows: Rows = {}
    for architecture, cubin in _cubins(module):
        for kernel, report, program in cubins.read(cubin):
            usage = measure(architecture, threads[kernel], report, program)
            rows[f"{architecture} {names[kernel]}"] = Row((usage,))
    order = {name: i for i, name in enumerate(ARCHITECTURES)}
    by_kernel = sorted(rows, key=lambda name: (order[name.split()[0]], name))
    return Table(compiler(), rows={name: rows[name] for name in by_kernel})


def measure(architecture: str, threads: int, report: cubins.Report, program: sass.Program) -> Usage:
    """Count what a row has of a kernel."""
    shared = report.shared
    if shared and int(architecture.removeprefix("sm_")) >= 90:
        shared -= _SYSTEM_SHARED
    looped = {i for loop in program.loops() for i in loop.body}
    vectors = [
        program.instructions[i].name
        for i in looped
        if "128" in program.instructions[i].opcode.split(".")
    ]
    return Usage(
        registers=report.registers,
        shared=shared,
        local=report.local,
        threads=threads,
        vector_loads=vectors.count("LDG") + vectors.count("LDGSTS"),  # to registers or shared
        vector_stores=vectors.count("STG"),
        instructions=len(program.instructions),
    )


def _cuobjdump() -> str:
    return disassembler("cuobjdump", triton_first=False)


def _cubins(module: Path) -> Iterator[tuple[str, Path]]:
    """Yield architecture and file of all machine code in a module."""
    with tempfile.TemporaryDirectory() as folder:
        run(_cuobjdump(), "-xelf", "all", str(module.resolve()), folder=Path(folder))
        for path in Path(folder).glob("*.cubin"):  # module.1.sm_80.cubin, module.2.sm_90.cubin ..
            yield path.suffixes[-2].removeprefix("."), path


def parse_threads(ptx: str) -> dict[str, int]:
    """Read each kernel's threads of a block, which ``__launch_bounds__`` made ``.maxntid``."""
    entries = re.findall(r"\.entry (\w+)\(.*?\.maxntid (\d+)", ptx, re.DOTALL)
    return {kernel: int(threads) for kernel, threads in entries}


def readable_names(mangled: Iterable[str]) -> dict[str, str]:
    """Return e.g. ``forward_kernel<Shape<float, 8, 16>>``: no namespaces, no arguments."""
    kernels = list(mangled)
    demangled = run("c++filt", *kernels).splitlines()
    return dict(zip(kernels, map(shortened, demangled), strict=True))


def shortened(demangled: str) -> str:
    """Leave out the type of the result, namespaces and arguments."""
    name = demangled.removeprefix("void ").replace("(anonymous namespace)::", "")
    name = re.sub(r"\b\w+::", "", name).replace("> >", ">>")
    return name.partition("(")[0]


def differences(old: Mapping[str, Row], new: Mapping[str, Row]) -> list[str]:
    """Return every number that is not what it was, and the kernels that are new or gone."""
    found = []
    for name in sorted(old.keys() | new.keys()):
        if name not in old or name not in new:
            found.append(f"{name}: is {'gone' if name in old else 'new'}")
            continue
        (before,), (after,) = old[name].usages, new[name].usages
        for column in fields(Usage):
            a, b = getattr(before, column.name), getattr(after, column.name)
            if a != b:
                found.append(f"{name}: {column.name} {a} -> {b}")
    return found


def problems(rows: Mapping[str, Row]) -> list[str]:
    """Return what no kernel may do, with any nvcc: spill, read rows twice or in small pieces.

    A kernel has to be there for every architecture.
    """
    found = []
    for kernel in sorted({name.partition(" ")[2] for name in rows}):
        promised = {"local": 0, **_vectors_of(kernel)}
        for architecture in ARCHITECTURES:
            name = f"{architecture} {kernel}"
            if name not in rows:
                found.append(f"{name}: is not compiled")
                continue
            (usage,) = rows[name].usages
            found += [
                f"{name}: {column} is {getattr(usage, column)}, must be {value}"
                for column, value in promised.items()
                if getattr(usage, column) != value
            ]
    return found


def _vectors_of(kernel: str) -> dict[str, int]:
    """Return how many vectors of 16 bytes a lane loads and stores for each row of features.

    Nothing for kernels that read no rows.
    """
    name, _, shape = kernel.partition("<Shape<")
    if not shape:
        return {}
    feature, _, values = shape.rstrip(">").split(", ")
    vectors = int(values) * (4 if feature == "float" else 2) // 16
    return {"vector_loads": vectors, "vector_stores": vectors * (name == "gradient_kernel")}
