# ruff: noqa: RUF005 (Gluon knows no starred lists)
"""A Gluon kernel for Hopper: a producer's warp copies tiles, four warps multiply them."""

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)


@gluon.jit
def _produce(a_tiles, b_tiles, a_ring, b_ring, full, empty, K, STAGES: gl.constexpr):
    BK: gl.constexpr = a_tiles.block_type.shape[1]
    for turn in range(K // BK):
        stage = turn % STAGES
        mbarrier.wait(empty.index(stage), ((turn // STAGES) & 1) ^ 1)
        mbarrier.expect(full.index(stage), a_tiles.block_type.nbytes + b_tiles.block_type.nbytes)
        tma.async_copy_global_to_shared(
            a_tiles, [0, turn * BK], full.index(stage), a_ring.index(stage)
        )
        tma.async_copy_global_to_shared(
            b_tiles, [turn * BK, 0], full.index(stage), b_ring.index(stage)
        )


@gluon.jit
def _consume(C, a_ring, b_ring, full, empty, K, STAGES: gl.constexpr):
    M: gl.constexpr = a_ring.shape[1]
    BK: gl.constexpr = a_ring.shape[2]
    N: gl.constexpr = b_ring.shape[2]
    layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, N, 16])
    total = gl.full([M, N], 0.0, gl.float32, layout)
    for turn in range(K // BK):
        stage = turn % STAGES
        mbarrier.wait(full.index(stage), (turn // STAGES) & 1)
        total = warpgroup_mma(a_ring.index(stage), b_ring.index(stage), total, is_async=True)
        total = warpgroup_mma_wait(0, deps=(total,))
        mbarrier.arrive(empty.index(stage), count=1)
    row = gl.arange(0, M, gl.SliceLayout(1, layout))
    column = gl.arange(0, N, gl.SliceLayout(0, layout))
    gl.store(C + row[:, None] * N + column[None, :], total)


@gluon.jit
def ring_matmul(a_tiles, b_tiles, C, K, STAGES: gl.constexpr):
    a_ring = gl.allocate_shared_memory(
        a_tiles.dtype, [STAGES] + a_tiles.block_type.shape, a_tiles.layout
    )
    b_ring = gl.allocate_shared_memory(
        b_tiles.dtype, [STAGES] + b_tiles.block_type.shape, b_tiles.layout
    )
    full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    for i in gl.static_range(STAGES):
        mbarrier.init(full.index(i), count=1)
        mbarrier.init(empty.index(i), count=1)
    gl.warp_specialize(
        [
            (_consume, (C, a_ring, b_ring, full, empty, K, STAGES)),
            (_produce, (a_tiles, b_tiles, a_ring, b_ring, full, empty, K, STAGES)),
        ],
        [1],
        [24],
    )
