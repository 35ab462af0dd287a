"""On what, and with what, a run was made."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ladnet_fast import __version__, _native
from ladnet_fast.ops import linear

#: Environment variables that change what is measured; recorded where they are set.
_VARIABLES = (
    "LADNET_BF16",
    "LADNET_CPU",
    "LADNET_IMPL",
    "LADNET_LINEAR",
    "LADNET_SELF_TEST",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "ATEN_CPU_CAPABILITY",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_MAX_CPU_ISA",
    "GOMP_CPU_AFFINITY",
    "OMP_PROC_BIND",
    "OMP_WAIT_POLICY",
    "MALLOC_MMAP_THRESHOLD_",
    "LD_PRELOAD",
)


def describe(threads: int) -> dict[str, Any]:
    """Return processor, thread count, versions and environment, for the results file."""
    return {
        "processor": processor_name(),
        "architecture": platform.machine(),
        "system": f"{platform.system()}, {' '.join(platform.libc_ver())}".rstrip(", "),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_bytes": total_memory(),
        "instruction_set": instruction_set(),
        "bf16_products": _native.cpu is not None and bool(_native.cpu.has_bf16_dot()),
        "linear_layers": linear.who_serves(),
        "torch_instruction_set": torch.backends.cpu.get_cpu_capability(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "ladnet_fast": __version__,
            "oneDNN": _config(r"Intel\(R\) MKL-DNN v([\d.]+)"),
            "MKL": _config(r"oneAPI Math Kernel Library Version ([\d.]+)"),
        },
        "environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def _config(pattern: str) -> str:
    found = re.search(pattern, torch.__config__.show())
    return found.group(1) if found else "not in this torch"


def instruction_set() -> str:
    """Return the one that the native kernels use, "none" where they were not built."""
    return "none" if _native.cpu is None else str(_native.cpu.instruction_set())


def instruction_sets() -> list[str]:
    """Return all that the native kernels could use here, the slowest first."""
    return [] if _native.cpu is None else list(_native.cpu.available_instruction_sets())


def processor_name() -> str:
    """Return the processor's name with family and model, which tell generations apart."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except FileNotFoundError:  # not Linux
        return platform.processor() or platform.machine()
    fields = dict(re.findall(r"^([^\t:]+?)\s*: (.*)$", text.partition("\n\n")[0], re.MULTILINE))
    name = fields.get("model name", platform.machine())
    if "cpu family" in fields and "model" in fields:
        name += f" (family {fields['cpu family']}, model {fields['model']})"
    return name


def available_memory() -> int:
    """Return the bytes that can be had without swapping."""
    import psutil  # here: runs on a GPU ask the device instead, and need no psutil

    return int(psutil.virtual_memory().available)


def total_memory() -> int:
    """Return the bytes of memory that this machine has."""
    import psutil

    return int(psutil.virtual_memory().total)


def busy_cores(seconds: float = 5.0) -> float:
    """Return how many cores other work keeps busy, on average over ``seconds`` of waiting."""
    import psutil

    return float(psutil.cpu_percent(interval=seconds)) / 100 * (os.cpu_count() or 1)


def slug(machine: dict[str, Any]) -> str:
    """Return a file name for results of this processor, thread count and instruction set."""
    name = re.sub(r"[^a-z0-9]+", "-", machine["processor"].lower()).strip("-")
    return f"cpu-{name}-t{machine['threads']}-{machine['instruction_set']}"
