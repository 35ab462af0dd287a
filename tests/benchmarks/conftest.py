"""Canned measurements, so that reports can be tested without timing anything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from benchmarks.runner import Measurement
from benchmarks.stats import Summary


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    # The tiny calls here gain nothing from more, and wait for each other where cores are few.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def constant(value, count=5):
    return Summary(value, value, value, count).as_dict()


def canned(op, side, shape, *, own=False, seconds=None, faster=None, peak=None, **fields):
    """A row of a results file."""
    return Measurement(
        op,
        fields.pop("variant", "additive" if op.startswith("attention") else "default"),
        shape,
        fields.pop("dtype", "float32"),
        side,
        own,
        fields.pop("status", "ok"),
        seconds=None if seconds is None else constant(seconds),
        flops=1e9 if seconds is not None else None,
        times_faster={peer: constant(ratio) for peer, ratio in (faster or {}).items()},
        peak_bytes=peak,
        **fields,
    ).as_dict()


def attention(T):
    return {"B": 1, "H": 1, "T": T, "d": 128}


@pytest.fixture
def rows():
    """A run in which everything was measured and every bar of avx512 is reached."""
    found = []
    for op in ("attention_forward", "attention_forward_backward"):
        for T in (2048, 4096, 8192, 16384):
            seconds = (T / 4096) ** 2
            faster = {"sdpa": 2.5 + T / 1e5, "eager": 9.0, "native_no_prior": 0.98}
            found += [
                canned(
                    op,
                    "native",
                    attention(T),
                    own=True,
                    seconds=seconds,
                    faster=faster,
                    peak=T * 10,
                ),
                canned(
                    op,
                    "native_no_prior",
                    attention(T),
                    own=True,
                    seconds=seconds,
                    faster={"native": 1.02},
                ),
                canned(op, "sdpa", attention(T), seconds=3 * seconds),
                canned(op, "eager", attention(T), seconds=9 * seconds, peak=T * T),
                canned(
                    op,
                    "native",
                    attention(T),
                    own=True,
                    seconds=seconds / 2,
                    faster={"sdpa": 4.0},
                    dtype="bfloat16",
                ),
            ]
    found += [
        canned(
            "lanet_forward",
            "native",
            {"B": 1, "T": T, "D": 1024},
            own=True,
            seconds=1.0,
            faster={"eager": 13.0},
        )
        for T in (4096, 16384)
    ]
    found += [
        canned(
            "ddl_forward_backward",
            "native",
            {"N": 64, "T": 8192, "C": 128},
            own=True,
            seconds=0.04,
            faster={"eager": 50.0, "copy": 0.6},
        ),
        canned(
            "training_step",
            "native",
            {"B": 128, "T": 200, "D": 1024},
            own=True,
            seconds=0.1,
            faster={"eager": 2.0},
        ),
        canned(
            "day_of_video",
            "native",
            {"B": 1, "T": 135_000, "D": 1024},
            own=True,
            seconds=45.0,
            peak=3 * 10**9,
        ),
        canned(
            "attention_forward",
            "triton",
            attention(2048),
            own=True,
            status="unavailable",
            reason="no GPU here",
        ),
    ]
    return found


@pytest.fixture
def run(rows):
    """The run as a results file holds it."""
    return {
        "schema": 2,
        "command": "python -m benchmarks run",
        "date": "2022-07-18",
        "busy_cores": 0.1,
        "machine": {
            "processor": "Test CPU 3000 (family 1, model 2)",
            "architecture": "x86_64",
            "system": "Linux, glibc 2.36",
            "cores": 2,
            "threads": 2,
            "memory_bytes": 2**34,
            "instruction_set": "avx512",
            "bf16_products": True,
            "linear_layers": "native from 256 snippets a batch on",
            "torch_instruction_set": "AVX512",
            "versions": {"python": "3.11.0", "torch": "2.13.0", "ladnet_fast": "0.1.0"},
            "environment": {"OMP_NUM_THREADS": "2"},
        },
        "ceilings": [
            {"name": "copy", "unit": "GB/s", "value": 30.0, "how": "Tensor.copy_"},
            {"name": "product", "unit": "GFLOP/s", "value": None, "how": "no compiler"},
        ],
        "measurements": rows,
    }
