"""What the compiler made of each kernel, read from the compiled module by NVIDIA's own tools."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import sass
from .build import nvidia_tool, run

#: From compute capability 9 on, the listing counts in what the system keeps of shared memory.
_SYSTEM_SHARED = 1024


@dataclass(frozen=True)
class Usage:
    """Resources of a kernel for one architecture."""

    registers: int
    """Per thread."""
    shared: int
    """Bytes a block."""
    stack: int
    """Bytes a thread of local memory, where registers are spilled to, among others."""
    local_accesses: int
    """Instructions that read or write local memory."""
    vector_loads: int
    """Global loads of 16 bytes in loops."""
    vector_stores: int
    """Global stores of 16 bytes in loops."""
    instructions: int
    """Of the whole kernel, padding included."""


def usage_of(module: Path) -> dict[str, dict[str, Usage]]:
    """Return for each kernel, by its readable name, the usage on each ``sm_..``."""
    table: dict[str, dict[str, Usage]] = {}
    for architecture, cubin in _cubins(module):
        resources = parse_resources(
            run(nvidia_tool("cuobjdump"), "--dump-resource-usage", str(cubin)), architecture
        )
        if not resources:  # of a file without kernels
            continue
        listing = run(nvidia_tool("nvdisasm"), "-c", str(cubin))
        names = readable_names(resources)
        for kernel, counted in resources.items():
            counted |= count_accesses(sass.parse(listing, kernel))
            table.setdefault(names[kernel], {})[architecture] = Usage(**counted)
    return table


def threads_of(module: Path) -> dict[str, int]:
    """Return the threads of a block of each kernel, as its ``__launch_bounds__`` say."""
    threads = parse_threads(run(nvidia_tool("cuobjdump"), "-ptx", str(module)))
    names = readable_names(threads)
    return {names[kernel]: count for kernel, count in threads.items()}


def _cubins(module: Path) -> Iterator[tuple[str, Path]]:
    """Yield architecture and file of all machine code in a module."""
    with tempfile.TemporaryDirectory() as folder:
        run(nvidia_tool("cuobjdump"), "-xelf", "all", str(module.resolve()), folder=Path(folder))
        paths = Path(folder).glob("*.cubin")  # module.1.sm_80.cubin, module.2.sm_90.cubin ..
        for path in sorted(paths, key=lambda path: int(path.suffixes[-3].removeprefix("."))):
            yield path.suffixes[-2].removeprefix("."), path


def parse_resources(listing: str, architecture: str) -> dict[str, dict[str, int]]:
    """Read ``--dump-resource-usage``: registers, shared memory and stack by kernel."""
    pattern = r"Function (\S+):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)"
    found = {}
    for kernel, *numbers in re.findall(pattern, listing):
        registers, stack, shared, local = map(int, numbers)
        if int(architecture.removeprefix("sm_")) >= 90 and shared > 0:
            shared -= _SYSTEM_SHARED
        found[kernel] = {"registers": registers, "shared": shared, "stack": stack + local}
    return found


def parse_threads(ptx: str) -> dict[str, int]:
    """Read ``.maxntid`` of every entry of PTX."""
    entries = re.findall(r"\.entry (\w+)\(.*?\.maxntid (\d+)", ptx, re.DOTALL)
    return {kernel: int(threads) for kernel, threads in entries}


def count_accesses(program: sass.Program) -> dict[str, int]:
    """Count what :class:`Usage` has of a kernel's instructions."""
    looped = {i for loop in program.loops() for i in loop.body}
    vectors = [
        program.instructions[i].name
        for i in looped
        if "128" in program.instructions[i].opcode.split(".")
    ]
    return {
        "local_accesses": program.count(["LDL", "STL"]),
        "vector_loads": vectors.count("LDG"),
        "vector_stores": vectors.count("STG"),
        "instructions": len(program.instructions),
    }


def readable_names(mangled: Iterable[str]) -> dict[str, str]:
    """Return e.g. ``dynamics_kernel<Shape<float, 8, 16>>``: no namespaces, no arguments."""
    kernels = list(mangled)
    demangled = run("c++filt", *kernels).splitlines()
    return dict(zip(kernels, map(shortened, demangled), strict=True))


def shortened(demangled: str) -> str:
    """Leave out the type of the result, namespaces and arguments."""
    name = demangled.removeprefix("void ").replace("(anonymous namespace)::", "")
    name = re.sub(r"\b\w+::", "", name).replace("> >", ">>")
    return name.partition("(")[0]
