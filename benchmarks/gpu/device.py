"""On what, and with what, a run was made."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from typing import Any

import torch

from ladnet_fast import __version__, _native

from .. import machine

_QUERY = "driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit,temperature.gpu"
_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "LADNET_AUTOTUNE",
    "LADNET_CHECK",
    "LADNET_IMPL",
    "NVIDIA_TF32_OVERRIDE",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TRITON_INTERPRET",
)


def describe(device: torch.device) -> dict[str, Any]:
    """Return the device, versions and environment, for the results file.

    ``instruction_set`` is the GPU's architecture, e.g. "sm_90".
    """
    described = {
        "processor": machine.processor_name(),
        "instruction_set": "cpu",
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()}, {' '.join(platform.libc_ver())}".rstrip(", "),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "triton": _version("triton"),
            "CUDA": torch.version.cuda or "none",
            "ladnet_fast": __version__,
        },
        "cuda_module": _native.cuda_problem or "built",
        "fp32_products": torch.backends.cuda.matmul.fp32_precision,
        "environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }
    if device.type == "cuda":
        described |= _describe_gpu(device)
    return described


def _describe_gpu(device: torch.device) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(device)
    return {
        "processor": properties.name,
        "instruction_set": f"sm_{properties.major}{properties.minor}",
        "memory_bytes": properties.total_memory,
        "multiprocessors": properties.multi_processor_count,
        "cudnn": torch.backends.cudnn.version(),
        "state": _nvidia_smi(device.index or 0),
    }


def _nvidia_smi(index: int) -> dict[str, str]:
    """Return driver, clocks, power limit and temperature, or why they are not known."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {"nvidia-smi": "is not there"}
    # The program numbers all devices of the machine, torch those that it may see.
    visible = [x for x in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if x]
    chosen = visible[index] if index < len(visible) else str(index)
    command = [program, f"--query-gpu={_QUERY}", "--format=csv,noheader", f"--id={chosen}"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except subprocess.TimeoutExpired:
        return {"nvidia-smi": "gave no answer in 30 s"}
    if run.returncode:
        said = (run.stderr or run.stdout).strip().splitlines()
        return {"nvidia-smi": said[0] if said else f"ended with status {run.returncode}"}
    return parse_state(run.stdout)


def parse_state(text: str) -> dict[str, str]:
    """Return the answer of nvidia-smi by the names of what was asked."""
    return dict(zip(_QUERY.split(","), (x.strip() for x in text.split(",")), strict=False))


def slug(described: dict[str, Any]) -> str:
    """Return a file name for results of this device."""
    name = re.sub(r"[^a-z0-9]+", "-", described["processor"].lower()).strip("-")
    return f"gpu-{name}-{described['instruction_set'].replace('_', '')}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"
