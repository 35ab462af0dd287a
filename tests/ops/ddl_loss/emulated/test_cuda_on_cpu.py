"""The CUDA losses, compiled by g++ and reached through their bindings, against float64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.emulators.cuda_on_cpu.device import SCHEDULES, Device

from ..cases import OPTIONS
from .passes import Results, both_passes, load_module
from .problems import DTYPES, RAGGED, Case

pytestmark = pytest.mark.slow  # because of what is built first

NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=NAMES.get)


@pytest.fixture(scope="session")
def module(losses: Callable[[str], Path]) -> Any:
    return load_module(losses("plain"))


@pytest.fixture
def passes(device: Device, module: Any) -> Callable[..., Results]:
    """Run a case on the emulator."""

    def run(case: Case, schedule: str = "up", seed: int = 1, **layout: Any) -> Results:
        device.configure(schedule, seed)
        return both_passes(module, device, case.problem(**layout))

    return run


def same_bits(a: Results, b: Results) -> bool:
    return all(a[name].tobytes() == b[name].tobytes() for name in a)


def test_the_module_sees_the_emulated_device(module):
    assert module.device_count() == 1
    assert module.why_no_device() is None


@dtypes
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("padded", [False, True], ids=["packed", "padded"])
def test_ragged_bags(dtype, schedule, padded, passes):
    case = Case(RAGGED, 24, dtype)
    case.check(passes(case, schedule, padded=padded), padded=padded)


@pytest.mark.parametrize(
    "options", OPTIONS, ids=lambda o: "-".join((o["pairing"], o["select"], o["detach"]))
)
def test_every_combination_of_the_options(options, passes):
    case = Case([20, 7, 33, 1, 12], 8, **options)
    case.check(passes(case, "random"))


#: Widths around the shapes of rows that the kernels know, and such that no row is aligned.
@dtypes
@pytest.mark.parametrize("C", [1, 3, 16, 128, 129, 512, 515, 1024])
def test_widths(C, dtype, passes):
    case = Case([9, 1, 6], C, dtype)
    case.check(passes(case, "random"))


@dtypes
@pytest.mark.parametrize("C", [2049, 4096])
def test_the_widest_rows(C, dtype, passes):
    case = Case([3, 2], C, dtype)
    case.check(passes(case, "random"))


@dtypes
def test_rows_may_lie_further_apart_than_they_are_wide(dtype, passes):
    case = Case([4, 9], 24, dtype)
    assert same_bits(passes(case), passes(case, extra_columns=5))


@pytest.mark.parametrize("chunk", [32, 50, 16384])
@pytest.mark.parametrize("select", ["topk", "all"])
def test_ties_are_broken_by_the_lowest_index(chunk, select, passes):
    case = Case([200, 64, 33, 1, 90], 8, ties=True, chunk=chunk, select=select, topk_divisor=4)
    case.check(passes(case))


@pytest.mark.parametrize("seed", range(6))
def test_how_the_work_is_cut_does_not_matter(seed, passes):
    """Random bags, chunks and strips: the gradients of features keep their bits."""
    rng = np.random.default_rng(seed)
    lengths = [int(n) for n in rng.integers(1, 150, rng.integers(1, 7))]
    shape = {"lengths": lengths, "C": int(rng.integers(1, 40)), "seed": seed}
    tuning = {"chunk": int(rng.integers(32, 200)), "strip": int(rng.integers(1, 64))}
    tuning["part"] = int(rng.integers(1, 400))
    whole, cut = Case(**shape), Case(**shape, **tuning)
    results = passes(cut, "random", seed)
    cut.check(results)
    expected = passes(whole, "down")
    for name in ("feature_dynamics", "grad_features"):
        assert results[name].tobytes() == expected[name].tobytes()


@pytest.mark.parametrize("chunk", [64, 16384])
def test_the_schedule_does_not_matter(chunk, passes):
    case = Case([150, 1, 64, 40], 24, chunk=chunk, strip=3)
    first, *others = [passes(case, schedule, 7) for schedule in SCHEDULES]
    assert all(same_bits(first, other) for other in others)


def test_which_block_arrives_last_does_not_matter(passes):
    case = Case([150, 1, 264, 40], 3, part=128)
    first, *others = [passes(case, "random", seed) for seed in range(5)]
    assert all(same_bits(first, other) for other in others)


def test_a_workspace_may_hold_anything_before(device, module):
    """What the last call left in it, a counter among it, does not matter."""
    problem = Case([150, 1, 40], 8, chunk=64).problem()
    kept: dict[int, np.ndarray] = {}

    class SameMemory:
        array, check = device.array, device.check

        def empty(self, shape, dtype):
            if dtype is not np.uint8:
                return device.empty(shape, dtype)
            return kept.setdefault(shape, device.empty(shape, dtype))

    results = [both_passes(module, SameMemory(), problem) for _ in range(2)]
    assert len(kept) == 1
    assert same_bits(*results)


@pytest.mark.parametrize("labels", [[True, True, True], [False, False, False]])
@pytest.mark.parametrize("pairing", ["batch_mean", "all_pairs", "one_to_one"])
def test_a_missing_class_leaves_no_ranking(labels, pairing, passes):
    case = Case([9, 5, 12], 8, pairing=pairing)
    case.labels = torch.tensor(labels)
    results = passes(case)
    assert results["terms"][1] == 0
    assert not results["score_grads"][1].any()
    case.check(results)


@pytest.mark.parametrize("bags", [1, 513])
@pytest.mark.parametrize("pairing", ["one_to_one", "batch_mean"])
def test_one_bag_and_more_bags_than_a_block_has_threads(bags, pairing, passes):
    case = Case([1 + i % 3 for i in range(bags)], 4, pairing=pairing)
    case.check(passes(case, "random"))


@pytest.mark.parametrize("C", [16, 600, 1030])
@pytest.mark.parametrize("size", [1e-18, 1e18])
def test_features_of_any_size(size, C, passes):
    case = Case([12, 7], C)
    case.features *= size
    case.check(passes(case))


def test_a_nan_score_makes_the_total_not_finite(passes):
    case = Case([12, 7], 16)
    case.scores[5] = torch.nan
    assert not np.isfinite(passes(case)["terms"]).all()


def launches(module: Any, bags: int, T: int, multiprocessors: int, **options: Any) -> list[Any]:
    """Return what padded bags of 128 features in float32 launch, forward and backward."""
    batch = module.DdlBatch(
        bags=bags, T=T, width=128, scores=0, features=0, dtype="float32", batch_stride=128 * T,
        row_stride=128, lengths=0, cu_seqlens=0,
    )  # fmt: skip
    options = {"pairing": "batch_mean", "detach": "none", **options}
    return module.ddl_launches(batch, multiprocessors=multiprocessors, **options)


@pytest.mark.parametrize("pairing", ["batch_mean", "all_pairs", "one_to_one"])
@pytest.mark.parametrize("detach", ["none", "score", "feature"])
def test_small_batches_take_three_launches_at_most_and_one_backward(pairing, detach, module):
    forward, backward = [], []
    for kernel, *_ in launches(module, 128, 200, 132, pairing=pairing, detach=detach):
        (backward if kernel in ("gradient_kernel", "combine_kernel") else forward).append(kernel)
    judges = {"batch_mean": [], "all_pairs": ["pairs_kernel"], "one_to_one": ["judge_kernel"]}
    assert forward == ["forward_kernel", *judges[pairing], "finish_kernel"]
    assert len(backward) == 1


@pytest.mark.parametrize("multiprocessors", [108, 132, 148])
@pytest.mark.parametrize(("bags", "T"), [(128, 200), (1, 1_000_000), (32, 8192)])
def test_every_launch_has_a_block_for_each_multiprocessor(bags, T, multiprocessors, module):
    for kernel, blocks, _ in launches(module, bags, T, multiprocessors):
        assert blocks >= multiprocessors, kernel


@pytest.mark.parametrize("pairing", ["batch_mean", "all_pairs"])
@pytest.mark.parametrize("chunk", [0, 32])
def test_what_is_launched_is_what_was_told(pairing, chunk, device, module, passes):
    case = Case([70, 1, 33], 8, chunk=chunk, pairing=pairing)
    before = device.launches
    passes(case, padded=True)
    told = launches(module, 3, 70, 4, pairing=pairing, chunk=chunk)
    assert device.launches - before == len(told)
