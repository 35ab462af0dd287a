"""How machine code is read: listings as NVIDIA's tools print them, and the occupancy of kernels."""

from __future__ import annotations

import pytest

from benchmarks import sass
from benchmarks.cuda_resources import cubins, traffic
from benchmarks.cuda_resources.occupancy import occupancy, resident_warps

RESOURCES = """
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


def test_resources():
    on_80 = cubins.parse_resources(RESOURCES, "sm_80")
    assert on_80["_Z1aPf"] == {"registers": 38, "shared": 1088, "stack": 24}
    on_90 = cubins.parse_resources(RESOURCES, "sm_90")
    assert (on_90["_Z1aPf"]["shared"], on_90["_Z1bv"]["shared"]) == (64, 0)


def test_threads():
    assert cubins.parse_threads(PTX) == {"_Z1aPf": 128, "_Z1bv": 512}


def test_only_what_loops_is_counted_as_a_vector():
    assert cubins.count_accesses(sass.parse(SASS, "_Z1aPf")) == {
        "local_accesses": 1, "vector_loads": 1, "vector_stores": 1, "instructions": 8,
    }  # fmt: skip


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
    assert cubins.shortened(demangled) == name


@pytest.mark.parametrize(
    ("architecture", "threads", "registers", "shared", "warps"),
    [
        ("sm_80", 128, 32, 0, 64),
        ("sm_80", 128, 33, 0, 48),  # 40 registers a thread: 51 warps, in groups of four 48
        ("sm_80", 512, 58, 0, 32),
        ("sm_80", 128, 200, 32, 8),
        ("sm_80", 32, 16, 0, 32),  # at most 32 blocks
        ("sm_80", 128, 32, 40960, 16),  # 41 KiB of 164 a block
        ("sm_90", 1024, 64, 0, 32),
        ("sm_90", 128, 32, 40960, 20),
        ("sm_120", 128, 32, 0, 48),
        ("sm_120", 32, 16, 0, 24),
        ("sm_120", 100, 168, 0, 12),  # 100 threads are four warps
    ],
)
def test_resident_warps(architecture, threads, registers, shared, warps):
    assert resident_warps(architecture, threads, registers, shared) == warps


def test_occupancy_is_a_share_of_the_warps():
    assert occupancy("sm_80", 128, 200, 32) == 0.125
    assert occupancy("sm_120", 128, 32, 0) == 1.0


@pytest.mark.parametrize("row", [256, 4096, 16384])
def test_traffic_tends_to_the_least_with_long_strips(row):
    moved = traffic.forward(row, 1e9) + traffic.backward(row, 1e9)
    least = traffic.least(row)
    assert moved.written == least.written
    assert 0 < moved.read - least.read < 9  # scores and dynamics that a second kernel reads
