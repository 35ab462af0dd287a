"""How often the kernels touch their arrays, counted while their PTX is executed."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.resources.tools import ROOT

from ..emulators.ptx_on_cpu import nvcc
from ..emulators.ptx_on_cpu.interpreter import DeviceMemory, Kernel, launch, parse

pytestmark = [
    pytest.mark.slow,  # because of what is compiled first
    pytest.mark.skipif(bool(nvcc.PROBLEM), reason=nvcc.PROBLEM),
]

T, C, STRIP = 40, 24, 4
ROW = 4 * C
SEAMS = T // STRIP - 1
#: Threads of a block, in groups of 8 lanes: one block walks all strips.
FORWARD_THREADS, BACKWARD_THREADS = 256, 128


class CountingMemory(DeviceMemory):
    """Device memory that counts the bytes of all accesses to each of its arrays."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        super().__init__(self.capacity_for(list(arrays.values())))
        self.moved: Counter[str] = Counter()
        self.address = {name: self.put(array) for name, array in arrays.items()}
        self._begins = np.array(list(self.address.values())) - self.base

    def problem(self, offsets: np.ndarray, size: int) -> tuple[int, str] | None:
        owners = np.searchsorted(self._begins, offsets, "right") - 1
        for owner, count in Counter(owners.tolist()).items():
            self.moved[list(self.address)[owner]] += count * size
        return super().problem(offsets, size)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Kernel]:
    """Return a kernel for the narrowest rows of float32."""
    csrc = ROOT / "csrc"
    source = csrc / "cuda" / "ddl_features_float32.cu"
    kernels = parse(nvcc.ptx_of(source, tmp_path_factory.mktemp("ptx"), [f"-I{csrc}"]))

    def find(name: str) -> Kernel:
        (found,) = (k for k in kernels if re.search(rf"{name}.*ShapeIfLi8ELi16E", k))
        return kernels[found]

    return find


@pytest.fixture
def memory() -> CountingMemory:
    rng = np.random.default_rng(0)
    return CountingMemory({
        "features": rng.standard_normal((T, C), np.float32),
        "scores": rng.random(T, np.float32),
        "dynamics": rng.random(T, np.float32),
        "grad_terms": np.ones(3, np.float32),
        "score_grads": np.ones((3, T), np.float32),
        "grad_scores": np.empty(T, np.float32),
        "grad_features": np.empty((T, C), np.float32),
    })  # fmt: skip


def one_bag(memory: CountingMemory) -> bytes:
    """Return ``struct Batch`` of core/ddl_batch.h: a bag of all snippets."""
    at = memory.address
    return struct.pack(
        "<qqqQQi4xqqQQ", 1, T, C, at["scores"], at["features"], 0, T * C, C, 0, 0
    )  # fmt: skip


def only_features() -> list[bytes]:
    """Return ``Counts``, ``Round`` and ``Workspace`` of a launch whose blocks select nothing."""
    counts = struct.pack("<Qqi4x", 0, 1, 0)
    a_later_round = struct.pack("<i4xqqqqi?3x", 1, 16384, 0, 0, 0, STRIP, True)
    return [counts, a_later_round, bytes(12 * 8)]


def test_forward_reads_rows_once_and_the_seams_twice(kernel, memory):
    arguments = [one_bag(memory), *only_features(), memory.address["dynamics"]]
    launch(kernel("forward_kernel"), memory, (1,), (FORWARD_THREADS,), 0, arguments)
    assert memory.moved == {"features": (T + SEAMS) * ROW, "dynamics": T * 4}


def test_backward_reads_rows_once_and_writes_them_once(kernel, memory):
    pointers = ["grad_terms", "score_grads", "dynamics", "grad_scores", "grad_features"]
    arguments = [one_bag(memory), 1e-6, STRIP, 1, 1, *(memory.address[n] for n in pointers)]
    launch(kernel("gradient_kernel"), memory, (1,), (BACKWARD_THREADS,), 0, arguments)
    assert memory.moved["features"] == (T + 2 * SEAMS) * ROW
    assert memory.moved["grad_features"] == T * ROW
    assert memory.moved["grad_scores"] == T * 4
    assert memory.moved["score_grads"] == T * 12
