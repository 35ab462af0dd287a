"""The PTX that nvcc emits for the CUDA losses, launched by their own host code, against float64."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.emulators.cuda_on_cpu import toolchain
from tests.emulators.cuda_on_cpu.fixtures import session_folder
from tests.emulators.launched_ptx.device import PtxDevice
from tests.emulators.ptx_on_cpu import nvcc
from tests.emulators.ptx_on_cpu.interpreter import Kernel, PtxError, parse

from .passes import Problem, Results, both_passes, load_module
from .problems import Case
from .sources import CSRC, INCLUDE

PROBLEM = nvcc.PROBLEM or toolchain.problem()
pytestmark = [
    pytest.mark.slow,  # because of what is built first
    pytest.mark.skipif(bool(PROBLEM), reason=PROBLEM),
]
CAPACITY = 1 << 20


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kernel]:
    folder = session_folder(tmp_path_factory, "ptx")
    modules: dict[str, Kernel] = {}
    for source in sorted(CSRC.glob("cuda/*.cu")):
        modules |= parse(nvcc.ptx_of(source, folder, INCLUDE))
    return modules


@pytest.fixture(scope="module")
def passes(
    kernels: dict[str, Kernel],
    emulator: Path,
    loss_kernels: Callable[[str], Path],
    losses: Callable[[str], Path],
) -> Callable[[Problem], tuple[Results, set[str]]]:
    """Run a problem with the kernels' PTX; return its results and the kernels that ran."""
    module, library = load_module(losses("plain")), loss_kernels("plain")

    def run(problem: Problem) -> tuple[Results, set[str]]:
        with PtxDevice(emulator, library, kernels, CAPACITY) as device:
            try:
                results = both_passes(module, device, problem)
            except RuntimeError:
                device.check()  # what the interpreter found says more
                raise
            return results, device.ran

    return run


CASES = {
    "fp32 packed": (Case([5, 1, 9], 24), False),
    "fp32 padded": (Case([5, 1, 9], 24), True),
    "bf16": (Case([5, 1, 6], 129, torch.bfloat16, pairing="all_pairs"), True),
    "fp16": (Case([3, 4], 24, torch.float16, pairing="one_to_one", select="all"), False),
    "ties": (Case([40, 3], 8, ties=True, topk_divisor=4), False),
    "split bags": (Case([70, 1, 33], 8, chunk=32, strip=3, part=128, ties=True), True),
    "wide rows": (Case([2, 2], 1030, torch.bfloat16, detach="score"), False),
    "more snippets than a block has threads": (Case([280, 3], 2), False),
    "more bags than a block judges": (Case([1] * 256 + [3], 2, select="all"), False),
    "detached features": (Case([4, 3], 3, detach="feature"), False),
}


@pytest.fixture(scope="module")
def outcome(
    passes: Callable[[Problem], tuple[Results, set[str]]],
) -> Callable[[str], tuple[Results, set[str]]]:
    """Return what became of a case; each runs once."""

    @functools.cache
    def run(name: str) -> tuple[Results, set[str]]:
        case, padded = CASES[name]
        return passes(case.problem(padded=padded))

    return run


@pytest.mark.parametrize("name", CASES)
def test_both_passes(name, outcome):
    case, padded = CASES[name]
    case.check(outcome(name)[0], padded=padded)


def test_every_kernel_but_other_shapes_of_rows_was_run(kernels, outcome):
    ran = set().union(*(outcome(name)[1] for name in CASES))
    left = set(kernels) - ran
    assert all("Shape" in name or "finish_kernelILb0E" in name for name in left), left


def test_features_that_are_shorter_than_the_scores_are_found_out(passes):
    problem = dict(CASES["fp32 packed"][0].problem())
    problem["features"] = np.ascontiguousarray(problem["features"][:-2])
    with pytest.raises(PtxError, match="global access out of bounds"):
        passes(problem)
