"""What every row of the attention kernels has to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ladnet_fast.kernels.locality_attention.configs import SHARED_BYTES, SHORT_BACKWARD

from .rows import Usage

if TYPE_CHECKING:
    from .triton_variants import Variant

#: How much longer than without a prior a turn of the far loop may be, by mode.
LONGEST_FAR_LOOP = {"additive": 1.02, "inference": 1.02, "logit": 1.07}
TENSOR_CORES = {
    80: "mma.sync",
    86: "mma.sync",
    90: "wgmma",
    100: "tcgen05",
    110: "tcgen05",
    120: "mma.sync",
}
#: Exceptions, by architecture, kernel and head size. wgmma and tcgen05 take 64 rows at once, and
#: where that many spill mma.sync serves: in tf32, and in 16 bits with the logit prior.
MMA_SYNC_IN_TF32 = {
    (90, "backward_keys", 256),
    (90, "backward_queries", 256),
    (100, "backward_keys", 256),
    (100, "backward_queries", 256),
    (110, "backward_keys", 256),
    (110, "backward_queries", 256),
}
MMA_SYNC_IN_16_BIT_LOGIT = {(90, "backward_keys", 256), (90, "backward_queries", 256)}
#: With the logit prior in tf32 registers are so short there that the second of the two far loops
#: computes addresses anew, and one far loop does it too. Every other configuration that fits the
#: shared memory is longer still, or its tiles are so small that they need more instructions in all.
LONGER_IN_TF32_LOGIT = {
    (90, "backward_queries", 256): 1.11,
    (120, "backward_keys", 256): 1.11,
    (120, "backward_queries", 128): 1.08,
}


def problems(variant: Variant, usage: Usage) -> list[str]:
    """Return what forbids shipping a variant as it was compiled for one layout."""
    found = []
    if usage.local:
        found.append(f"{usage.local} bytes of local memory: registers spill")
    limit = SHARED_BYTES[variant.architecture]
    if usage.shared > limit:
        found.append(f"{usage.shared} bytes of shared memory, of {limit}")
    wanted = _tensor_cores(variant)
    if usage.tensor_cores != wanted:
        found.append(f"tensor cores by {usage.tensor_cores or 'none'}, not {wanted or 'none'}")
    if usage.chained and TENSOR_CORES[variant.architecture] == "tcgen05":
        found.append(f"{usage.chained} chained products: Triton compiles them wrongly for this GPU")
    if variant.far_loops and not usage.async_copies:
        found.append("no asynchronous copies in a far loop")
    if variant.config.descriptors and usage.async_copies != 2:
        found.append(f"{usage.async_copies} copies in a far loop, not 2 by descriptors")
    longest = _longest_far_loop(variant)
    if usage.far_loop_ratio > longest:
        found.append(
            f"a far loop of {usage.far_loop_ratio:.3f} times that without a prior; "
            f"{longest} allowed"
        )
    return found


def _tensor_cores(variant: Variant) -> str:
    if variant.precision == "fp32" or not variant.products:
        return ""
    place = (variant.architecture, variant.kernel, variant.head_size)
    if variant.precision == "tf32":
        excepted = place in MMA_SYNC_IN_TF32
    else:
        excepted = variant.prior == "logit" and place in MMA_SYNC_IN_16_BIT_LOGIT
    return "mma.sync" if excepted else TENSOR_CORES[variant.architecture]


def _longest_far_loop(variant: Variant) -> float:
    if variant.kernel == SHORT_BACKWARD:
        return float("inf")  # its loop holds the near tiles' prior, which others have apart
    mode = variant.mode.removesuffix("-split").removesuffix("-queries")
    longest = LONGEST_FAR_LOOP.get(mode, 1.0)
    if variant.precision == "tf32" and variant.mode == "logit":
        place = (variant.architecture, variant.kernel, variant.head_size)
        return max(longest, LONGER_IN_TF32_LOGIT.get(place, 0.0))
    return longest
