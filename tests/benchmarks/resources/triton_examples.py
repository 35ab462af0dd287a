"""A variant of the attention kernels, and figures that it may have."""

from __future__ import annotations

from benchmarks.resources.rows import Usage
from benchmarks.resources.triton_variants import Variant
from ladnet_fast.kernels.locality_attention.configs import Config

VARIANT = Variant("forward", "additive", 90, "bf16", 128, Config(128, 128, 64, 8, 2))
CLEAN = Usage(
    registers=255,
    shared=163_840,
    tensor_cores="wgmma",
    async_copies=16,
    far_loop=517,
)
