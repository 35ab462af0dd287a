"""What the device can do at most: matrix products and copies, measured in the same run."""

from __future__ import annotations

import torch

from ..ceilings import Ceiling
from ..measure import Clock, interleaved
from ..stats import summarise
from .sizes import Sizes

COPY = "copy"
_PRODUCTS = (torch.bfloat16, torch.float16, torch.float32, torch.float64)


def product_name(dtype: str) -> str:
    """Return the name of the ceiling of matrix products in a dtype, e.g. "bfloat16"."""
    return f"matrix product, {dtype}"


def measure_ceilings(device: torch.device, sizes: Sizes, clock: Clock) -> list[Ceiling]:
    """Measure the products of square matrices in every dtype, and a copy."""
    side = sizes.matrix
    found = [_product(dtype, side, device, sizes, clock) for dtype in _PRODUCTS]
    source = torch.zeros(sizes.copy_bytes, dtype=torch.int8, device=device)
    target = torch.empty_like(source)
    seconds = interleaved({COPY: lambda: target.copy_(source)}, sizes.plan, clock)[COPY]
    rate = 2 * sizes.copy_bytes / summarise(seconds).p50 / 1e9
    how = f"Tensor.copy_ of {sizes.copy_bytes / 2**20:g} MiB, bytes read and written"
    return [*found, Ceiling(COPY, "GB/s", rate, how)]


def _product(
    dtype: torch.dtype, side: int, device: torch.device, sizes: Sizes, clock: Clock
) -> Ceiling:
    # float64 has a small fraction of the speed on many GPUs; smaller matrices do.
    side = side // 4 if dtype == torch.float64 else side
    name = product_name(str(dtype).removeprefix("torch."))
    # Normal numbers: a GPU may run faster, because cooler, on zeros.
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    seconds = interleaved({name: lambda: torch.mm(a, b)}, sizes.plan, clock)[name]
    rate = 2.0 * side**3 / summarise(seconds).p50 / 1e9
    return Ceiling(name, "GFLOP/s", rate, f"torch.mm, {side} x {side}")
