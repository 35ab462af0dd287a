"""Rows of the CUDA module: listings as NVIDIA's tools print them, and what a kernel may not do."""

from __future__ import annotations

import pytest

from benchmarks.resources import cuda_rows, sass
from benchmarks.resources.cubins import Report, parse_reports
from benchmarks.resources.rows import Row, Usage

REPORTS = """
Resource usage:
 Common:
  GLOBAL:0
 Function _Z1aPf:
  REG:38 STACK:8 SHARED:1088 LOCAL:16 CONSTANT[0]:568 TEXTURE:0 SURFACE:0 SAMPLER:0
 Function _Z1bv:
  REG:12 STACK:0 SHARED:0 LOCAL:0 CONSTANT[0]:568 TEXTURE:0 SURFACE:0 SAMPLER:0
"""

PTX = """
.visible .entry _Z1aPf(
	.param .u64 _Z1aPf_param_0
)
.maxntid 128
{
}
.entry _Z1bv()
.maxntid 512
{
}
"""

# A vector before the loop, one of each kind in it, a spill.
SASS = """
	.section	.text._Z1aPf,"ax",@progbits
.text._Z1aPf:
        /*0000*/                   LDG.E.128.CONSTANT R4, [R2.64] ;
.L_x_0:
        /*0010*/                   LDG.E.128.CONSTANT R8, [R2.64] ;
        /*0020*/                   LDG.E.64 R8, [R2.64] ;
        /*0030*/              @!P0 STG.E.128 [R2.64], R8 ;
        /*0040*/                   STL [R1], R8 ;
        /*0050*/               @P1 BRA `(.L_x_0) ;
        /*0060*/                   EXIT ;
.L_x_1:
        /*0070*/                   BRA `(.L_x_1);
"""


def test_reports():
    assert parse_reports(REPORTS) == {
        "_Z1aPf": Report(registers=38, shared=1088, local=24),
        "_Z1bv": Report(registers=12, shared=0, local=0),
    }


def test_threads():
    assert cuda_rows.parse_threads(PTX) == {"_Z1aPf": 128, "_Z1bv": 512}


def test_only_what_loops_is_counted_as_a_vector():
    code = sass.parse(SASS, "_Z1aPf")
    assert cuda_rows.measure("sm_80", 128, Report(38, 1088, 24), code) == Usage(
        registers=38, shared=1088, local=24, threads=128, vector_loads=1, vector_stores=1,
        instructions=8,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("architecture", "reported", "own"),
    [("sm_80", 1088, 1088), ("sm_90", 1088, 64), ("sm_120", 1088, 64), ("sm_90", 0, 0)],
)
def test_shared_memory_that_the_system_keeps_is_no_kernels_own(architecture, reported, own):
    code = sass.parse(SASS, "_Z1aPf")
    assert cuda_rows.measure(architecture, 128, Report(1, reported, 0), code).shared == own


@pytest.mark.parametrize(
    ("demangled", "name"),
    [
        (
            "void ladnet::gpu::kernel<ladnet::gpu::Shape<ladnet::BFloat16, 8, 16> >(float*)",
            "kernel<Shape<BFloat16, 8, 16>>",
        ),
        (
            "ladnet::gpu::(anonymous namespace)::pick_kernel(bool const*)",
            "pick_kernel",
        ),
        ("void ladnet::(anonymous namespace)::finish_kernel<true>(float)", "finish_kernel<true>"),
    ],
)
def test_readable_names(demangled, name):
    assert cuda_rows.shortened(demangled) == name


def rows_of(name: str, **changed: object) -> dict[str, Row]:
    counts = {"registers": 40, "shared": 0, "threads": 128, "vector_loads": 4, "instructions": 100}
    row = Row((Usage(**(counts | changed)),))
    return {f"{architecture} {name}": row for architecture in cuda_rows.ARCHITECTURES}


@pytest.mark.parametrize(
    ("column", "before", "after"),
    [
        ("registers", 40, 41),
        ("registers", 40, 39),
        ("shared", 0, 16),
        ("local", 0, 8),
        ("threads", 128, 256),
        ("vector_loads", 4, 5),
        ("vector_loads", 4, 3),
        ("vector_stores", 0, 4),
        ("instructions", 100, 108),
    ],
)
def test_every_number_that_differs_is_told(column, before, after):
    found = cuda_rows.differences(rows_of("kernel"), rows_of("kernel", **{column: after}))
    assert f"sm_80 kernel: {column} {before} -> {after}" in found
    assert len(found) == len(cuda_rows.ARCHITECTURES)


def test_kernels_that_are_new_or_gone_are_differences():
    found = cuda_rows.differences(rows_of("old"), rows_of("new"))
    assert {"sm_90 old: is gone", "sm_90 new: is new"} < set(found)
    assert len(found) == 2 * len(cuda_rows.ARCHITECTURES)


@pytest.mark.parametrize(
    ("name", "changed", "problem"),
    [
        ("judge_kernel", {"vector_loads": 0, "local": 8}, "local is 8, must be 0"),
        ("forward_kernel<Shape<float, 8, 16>>", {"vector_loads": 8}, "is 8, must be 4"),
        ("forward_kernel<Shape<BFloat16, 8, 32>>", {"vector_loads": 0}, "is 0, must be 4"),
        ("gradient_kernel<Shape<Float16, 32, 32>>", {}, "vector_stores is 0, must be 4"),
    ],
)
def test_what_a_kernel_may_not_do_is_named(name, changed, problem):
    problems = cuda_rows.problems(rows_of(name, **changed))
    assert len(problems) == len(cuda_rows.ARCHITECTURES)
    assert all(problem in line for line in problems)


def test_a_kernel_that_is_missing_on_one_architecture_is_named():
    rows = rows_of("judge_kernel", vector_loads=0)
    del rows["sm_100 judge_kernel"]
    assert cuda_rows.problems(rows) == ["sm_100 judge_kernel: is not compiled"]
