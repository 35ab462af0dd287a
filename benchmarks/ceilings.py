"""What this machine can do at most: multiply-adds in registers, matrix products, copies.

Measured in the same run as everything else, for a speed means little without them.
"""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from . import machine
from .measure import Plan, interleaved
from .stats import summarise

#: Names of ceilings that the bars look at.
FMA = "multiply-adds in registers, fp32"
FMA_AVX2 = "the same with AVX2"
_SIDE = 2048  # of the square matrices: large enough for a product to reach its best
_COPY_BYTES = 2**28
_FLAGS = {
    "avx512": ("-march=native", "-mprefer-vector-width=512"),
    "avx2": ("-mavx2", "-mfma"),
    "baseline": (),
    "none": ("-march=native",),
}


@dataclass(frozen=True)
class Ceiling:
    """One limit of the machine."""

    name: str
    unit: str
    value: float | None
    """Median; None where it could not be measured."""
    how: str
    """How it was measured, or why it was not."""

    def as_dict(self) -> dict[str, object]:
        """Return the fields, for JSON."""
        return asdict(self)


def measure_ceilings(threads: int, plan: Plan) -> list[Ceiling]:
    """Measure every ceiling with so many threads."""
    used = machine.instruction_set()
    sets = {FMA: used} | ({FMA_AVX2: "avx2"} if used == "avx512" else {})
    return [
        *(_fma_peak(name, chosen, threads, plan) for name, chosen in sets.items()),
        *_products(plan),
        _openblas(threads),
        _copy(plan),
    ]


# ---- Multiply-adds -------------------------------------------------------------------------------


def _fma_peak(name: str, instruction_set: str, threads: int, plan: Plan) -> Ceiling:
    unit = "GFLOP/s"
    compiler = shlex.split(os.environ.get("CC", "")) or [shutil.which("cc") or ""]
    if not compiler[0]:
        return Ceiling(
            name, unit, None, "needs a C compiler (cc); the products below are what there is"
        )
    flags = _FLAGS[instruction_set]
    source = Path(__file__).with_name("fma_peak.c")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "fma_peak.so"
        command = [
            *compiler, "-O3", "-ffp-contract=fast", *flags, "-shared", "-fPIC",
            str(source), "-o", str(library),
        ]  # fmt: skip
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        if built.returncode:
            problem = (built.stderr.strip().splitlines() or ["no message"])[-1]
            return Ceiling(name, unit, None, f"fma_peak.c does not compile here: {problem}")
        rate = _run_fma(ctypes.CDLL(str(library)), threads, plan)
    return Ceiling(name, unit, rate / 1e9, f"fma_peak.c, {' '.join(flags) or 'no flags'}")


def _run_fma(library: ctypes.CDLL, threads: int, plan: Plan) -> float:
    library.fma_peak.argtypes = (ctypes.c_long, ctypes.c_float, ctypes.POINTER(ctypes.c_float))
    library.fma_peak.restype = ctypes.c_double
    iterations = 2_000_000

    def one(_: int) -> float:
        # ctypes releases the interpreter's lock, so these run side by side.
        return float(library.fma_peak(iterations, 0.5, ctypes.byref(ctypes.c_float())))

    rates = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(1 + plan.min_rounds):
            start = time.perf_counter()
            operations = sum(pool.map(one, range(threads)))
            rates.append(operations / (time.perf_counter() - start))
    # The best and not the median: no product here may be faster than what is called a peak.
    return max(rates[1:])


# ---- Products ------------------------------------------------------------------------------------


def _products(plan: Plan) -> list[Ceiling]:
    a, b = torch.randn(2, _SIDE, _SIDE).unbind()
    half_a, half_b = a.bfloat16(), b.bfloat16()
    library = "MKL" if torch.backends.mkl.is_available() else "torch's BLAS"
    calls: dict[str, tuple[str, Callable[[], object]]] = {
        f"{library} product, fp32": ("torch.mm", lambda: torch.mm(a, b)),
        "oneDNN product, fp32": (
            "torch.ops.mkldnn._linear_pointwise",
            lambda: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], ""),
        ),
        "product, bf16": ("torch.mm", lambda: torch.mm(half_a, half_b)),
    }
    found = []
    working = {}
    for name, (how, call) in calls.items():
        try:
            call()
        except (RuntimeError, AttributeError, NotImplementedError) as error:
            reason = str(error).strip().splitlines()[0]
            found.append(Ceiling(name, "GFLOP/s", None, f"{how} does not run here: {reason}"))
        else:
            working[name] = call
    for name, seconds in interleaved(working, plan).items():
        rate = 2.0 * _SIDE**3 / summarise(seconds).p50 / 1e9
        found.append(Ceiling(name, "GFLOP/s", rate, f"{calls[name][0]}, {_SIDE} x {_SIDE}"))
    return found


_OPENBLAS = f"""
import json, time
import numpy
a, b = numpy.random.default_rng(0).standard_normal((2, {_SIDE}, {_SIDE}), dtype=numpy.float32)
seconds = []
for _ in range(7):
    start = time.perf_counter()
    a @ b
    seconds.append(time.perf_counter() - start)
print(json.dumps(seconds[2:]))
"""


def _openblas(threads: int) -> Ceiling:
    """Measure numpy's product in a process in which OPENBLAS_CORETYPE is not set.

    Where that variable names another processor, OpenBLAS runs kernels made for that one.
    """
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    environment["OPENBLAS_NUM_THREADS"] = environment["OMP_NUM_THREADS"] = str(threads)
    run = subprocess.run(
        [sys.executable, "-c", _OPENBLAS],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    rate = 2.0 * _SIDE**3 / summarise(json.loads(run.stdout)).p50 / 1e9
    how = f"numpy, {_SIDE} x {_SIDE}, in a process without OPENBLAS_CORETYPE"
    return Ceiling("numpy product, fp32", "GFLOP/s", rate, how)


# ---- Memory --------------------------------------------------------------------------------------


def _copy(plan: Plan) -> Ceiling:
    source = torch.zeros(_COPY_BYTES // 4).add_(1)
    target = torch.empty_like(source)
    seconds = interleaved({"copy": lambda: target.copy_(source)}, plan)["copy"]
    rate = 2 * _COPY_BYTES / summarise(seconds).p50 / 1e9
    how = f"Tensor.copy_ of {_COPY_BYTES // 2**20} MiB, bytes read and written"
    return Ceiling("copy", "GB/s", rate, how)
