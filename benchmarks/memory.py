"""Peak memory of a call, each in a process of its own.

The worker (``python -m benchmarks.memory KEY SIDE``) builds the inputs, notes the resident memory,
calls once, and reports by how much the peak rose above it: outputs and saved tensors included,
inputs not. A first call at a tiny shape has loaded libraries and started threads before.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

import torch

from . import machine, registry
from .vocabulary import Case
from .worker import WorkerError, run_worker


def measure_peak(case: Case, side: str, threads: int) -> dict[str, Any]:
    """Return ``{"status", "reason", "peak_bytes"}`` of one call; never raises for a failing side.

    The process may not take more memory than is available: it fails instead of the machine.
    """
    try:
        return run_worker("benchmarks.memory", case.key, side, threads, threads=threads)
    except WorkerError as error:
        return {"status": "error", "reason": str(error), "peak_bytes": None}


def _work(key: str, name: str, threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    case = registry.find(key)
    side = case.op.side(name)
    tiny = case.op.build(case.tiny(), torch.device("cpu"))
    reasons = side.why_not(tiny)
    if reasons:
        return {"status": "unavailable", "reason": "; ".join(reasons), "peak_bytes": None}
    side.prepare(tiny, False)()
    call = side.prepare(case.op.build(case, torch.device("cpu")), False)
    before = reset_peak()
    result = call()
    peak = peak_resident() - before
    del result
    return {"status": "ok", "reason": "", "peak_bytes": peak}


def _limit_memory() -> None:
    if not sys.platform.startswith("linux"):  # elsewhere it can't be limited so
        return
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + int(0.9 * machine.available_memory())
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def reset_peak() -> int:
    """Forget the peak so far; return the bytes that are resident now.

    Where the system can't forget (no ``/proc/self/clear_refs``), return the peak itself: what is
    measured then misses what fits under it, by no more than earlier, freed memory.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return peak_resident()
    return _status("VmRSS")


def peak_resident() -> int:
    """Return the largest number of resident bytes since the start or `reset_peak`."""
    if Path("/proc/self/status").exists():
        return _status("VmHWM")
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no field {field}")


if __name__ == "__main__":
    _limit_memory()
    print(json.dumps(_work(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
