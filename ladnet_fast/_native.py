"""The compiled modules, or the reasons why they are absent."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

import torch

_FROM_SOURCE = "install from source (pip install . in a clone, or --no-binary ladnet-fast)"
_REMEDY = {
    "_cpu": f"to build it, or to see why that fails, {_FROM_SOURCE} with LADNET_BUILD=cpu in the "
    "environment",
    "_cuda": f"published wheels have none: {_FROM_SOURCE} with LADNET_BUILD=cuda in the "
    "environment, on a machine with nvcc",
}


def _load(name: str) -> tuple[ModuleType | None, str | None]:
    """Return the module, or None and why it is absent."""
    try:
        return import_module(f"ladnet_fast.{name}"), None
    except ImportError as error:
        return None, (
            f"the compiled module ladnet_fast.{name} cannot be loaded ({error}); {_REMEDY[name]}"
        )


#: The module ``ladnet_fast._cpu``, or None; and why it is None, None if it is not.
cpu, cpu_problem = _load("_cpu")
#: The module ``ladnet_fast._cuda``, or None, and why. It loads without a driver.
cuda, cuda_problem = _load("_cuda")

if cpu is not None:
    # Asked for here so that a LADNET_CPU that this processor cannot serve is an error at once.
    cpu.instruction_set()

#: Whether `cpu` can read a tensor by itself. Without DLPack's table of functions, which came with
#: torch 2.10, Python describes each tensor.
reads_tensors = False
if cpu is not None:
    _table = getattr(torch.Tensor, "__dlpack_c_exchange_api__", None)
    if _table is not None:
        reads_tensors = cpu.know_tensors(classes=(torch.Tensor, torch.nn.Parameter), table=_table)
