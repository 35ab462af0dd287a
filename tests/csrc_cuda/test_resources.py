"""The machine code of the CUDA kernels against the table in the docs.

The build itself fails if a register is spilled: with LADNET_WERROR ptxas's warning is an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.cuda_resources import build, page, table
from benchmarks.cuda_resources.occupancy import MULTIPROCESSORS


@pytest.fixture(scope="module")
def measured(built_module: Path) -> dict[str, Any]:
    return table.make(built_module)


@pytest.mark.slow
def test_every_kernel_is_compiled_for_every_architecture(measured):
    for kernel in measured["kernels"].values():
        assert kernel.keys() == {"threads", *MULTIPROCESSORS}


@pytest.mark.slow
def test_nothing_spills_and_rows_are_read_once_in_whole_vectors(measured):
    assert table.broken_promises(measured["kernels"]) == []


@pytest.mark.slow
def test_the_table_is_that_of_the_code(measured):
    checked_in = table.load()
    if measured["nvcc"] != checked_in["nvcc"]:
        pytest.skip(f"the table is of nvcc {checked_in['nvcc']}, this is {build.nvcc_version()}")
    worse, other = table.differences(checked_in["kernels"], measured["kernels"])
    remedy = f"if that is meant to be, run {table.COMMAND}"
    assert not worse, "\n".join(["got worse:", *worse, remedy])
    assert not other, "\n".join(["differs, no worse:", *other, f"run {table.COMMAND}"])


def test_the_page_shows_the_table():
    assert page.PAGE.read_text() == page.render(table.load())


def test_the_table_itself_keeps_the_promises():
    kernels = table.load()["kernels"]
    assert table.broken_promises(kernels) == []
    features = [name for name in kernels if "Shape<" in name]
    assert len(features) == 24  # 2 kernels, 3 dtypes, 4 shapes of rows


def use(**changed: float) -> dict[str, Any]:
    numbers = {
        "registers": 40, "shared": 0, "stack": 0, "local_accesses": 0, "vector_loads": 4,
        "vector_stores": 0, "instructions": 100, "resident_percent": 50.0,
    }  # fmt: skip
    return {"threads": 128, **dict.fromkeys(MULTIPROCESSORS, numbers | changed)}


@pytest.mark.parametrize(
    ("key", "worse", "better"),
    [
        ("registers", 41, 39),
        ("shared", 16, None),
        ("stack", 8, None),
        ("local_accesses", 1, None),
        ("resident_percent", 31.25, 75.0),
        ("vector_loads", 5, None),
        ("vector_loads", 3, None),
        ("vector_stores", 4, None),
    ],
)
def test_a_change_for_the_worse_is_told_from_others(key, worse, better):
    old = {"kernel": use()}
    found, other = table.differences(old, {"kernel": use(**{key: worse})})
    assert f"kernel on sm_80: {key} {use()['sm_80'][key]} -> {worse}" in found
    assert (len(found), other) == (len(MULTIPROCESSORS), [])
    if better is not None:
        found, other = table.differences(old, {"kernel": use(**{key: better})})
        assert (found, len(other)) == ([], len(MULTIPROCESSORS))


def test_kernels_that_are_new_or_gone_are_differences():
    worse, other = table.differences({"old": use()}, {"new": use()})
    assert worse == []
    assert any("new: threads None -> 128" in line for line in other)
    assert any("old: threads 128 -> None" in line for line in other)


@pytest.mark.parametrize(
    ("name", "changed", "problem"),
    [
        ("judge_kernel", {"vector_loads": 0, "stack": 8}, "stack is 8, must be 0"),
        ("judge_kernel", {"vector_loads": 0, "local_accesses": 2}, "local_accesses is 2"),
        ("dynamics_kernel<Shape<float, 8, 16>>", {"vector_loads": 8}, "is 8, must be 4"),
        ("dynamics_kernel<Shape<BFloat16, 8, 32>>", {"vector_loads": 0}, "is 0, must be 4"),
        ("gradient_kernel<Shape<Float16, 32, 32>>", {}, "vector_stores is 0, must be 4"),
    ],
)
def test_a_broken_promise_is_named(name, changed, problem):
    problems = table.broken_promises({name: use(**changed)})
    assert len(problems) == len(MULTIPROCESSORS)
    assert all(problem in line for line in problems)
