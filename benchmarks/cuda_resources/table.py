"""The checked-in table of resources: made, compared, and shown as a page of the docs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .build import ROOT, nvcc_version
from .cubins import Usage, threads_of, usage_of
from .occupancy import MULTIPROCESSORS, occupancy

TABLE = ROOT / "docs" / "cuda-resources.json"
COMMAND = "python -m benchmarks.cuda_resources"

_MORE_IS_WORSE = ("registers", "shared", "stack", "local_accesses")
_LESS_IS_WORSE = ("resident_percent",)
# A row that is loaded twice, or not in whole vectors, is a change for the worse either way.
_MAY_NOT_CHANGE = ("vector_loads", "vector_stores")

Table = dict[str, Any]


def make(module: Path) -> Table:
    """Return the table of a compiled module: kernel -> threads, and the usage by ``sm_..``."""
    threads = threads_of(module)
    kernels = {
        name: {
            "threads": threads[name],
            **{arch: _numbers(arch, threads[name], use) for arch, use in uses.items()},
        }
        for name, uses in sorted(usage_of(module).items())
    }
    return {"nvcc": nvcc_version(), "kernels": kernels}


def _numbers(architecture: str, threads: int, use: Usage) -> dict[str, Any]:
    share = occupancy(architecture, threads, use.registers, use.shared)
    return {**asdict(use), "resident_percent": round(100 * share, 2)}


def load() -> Table:
    """Return the table that is checked in."""
    table: Table = json.loads(TABLE.read_text())
    return table


def dump(table: Table) -> str:
    """Return a table as JSON, with a line for each kernel and architecture."""
    kernels = []
    for name, kernel in table["kernels"].items():
        entries = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in kernel.items()]
        kernels.append(f" {json.dumps(name)}: {{\n" + ",\n".join(entries) + "\n }")
    body = ",\n".join(kernels)
    return f'{{"nvcc": {json.dumps(table["nvcc"])}, "kernels": {{\n{body}\n}}}}\n'


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Compare the kernels of two tables: what is worse in ``new``, and what differs otherwise."""
    worse: list[str] = []
    other: list[str] = []
    before, after = _flat(old), _flat(new)
    for place in sorted(before.keys() | after.keys()):
        a, b = before.get(place), after.get(place)
        if a != b:
            *where, key = place
            line = f"{' on '.join(where)}: {key} {a} -> {b}"
            (worse if _is_worse(key, a, b) else other).append(line)
    return worse, other


def _flat(kernels: Mapping[str, Any]) -> dict[tuple[str, ...], float]:
    flat: dict[tuple[str, ...], float] = {}
    for name, kernel in kernels.items():
        for key, value in kernel.items():
            if isinstance(value, Mapping):
                flat |= {(name, key, measure): number for measure, number in value.items()}
            else:
                flat[name, key] = value
    return flat


def _is_worse(key: str, before: float | None, after: float | None) -> bool:
    if before is None or after is None:  # a kernel or an architecture that is new or gone
        return False
    return (
        (key in _MORE_IS_WORSE and after > before)
        or (key in _LESS_IS_WORSE and after < before)
        or key in _MAY_NOT_CHANGE
    )


def broken_promises(kernels: Mapping[str, Any]) -> list[str]:
    """Return what no kernel may do, with any nvcc: spill, read rows twice or in small pieces."""
    problems = []
    for name, kernel in kernels.items():
        loads, stores = _vectors_of(name)
        for arch in MULTIPROCESSORS:
            use = kernel[arch]
            promised = {
                "stack": 0, "local_accesses": 0, "vector_loads": loads, "vector_stores": stores
            }  # fmt: skip
            problems += [
                f"{name} on {arch}: {key} is {use[key]}, must be {value}"
                for key, value in promised.items()
                if use[key] != value
            ]
    return problems


def _vectors_of(name: str) -> tuple[int, int]:
    """Return how many vectors of 16 bytes a lane loads and stores for each row of features."""
    kernel, _, shape = name.partition("<Shape<")
    if not shape:
        return 0, 0
    feature, _, values = shape.rstrip(">").split(", ")
    vectors = int(values) * (4 if feature == "float" else 2) // 16
    return vectors, vectors if kernel == "gradient_kernel" else 0
