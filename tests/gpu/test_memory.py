"""Peak memory of a call on the device, and that ours grows as the length does, not its square."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from benchmarks import impls
from benchmarks.cases import attention
from benchmarks.stats import growth_exponent
from benchmarks.vocabulary import Case, Op

from .judging import Unavailable, release
from .settings import chosen_sizes
from .sizes import Sizes

#: Of T^x: linear, with room for what the allocator rounds up.
LARGEST_EXPONENT = 1.05

Peak = Callable[[Case, str, torch.device], int]


def measure_peak(case: Case, side: str, device: torch.device) -> int:
    """Return by how many bytes a call's peak rises above what was allocated before it.

    Outputs and saved tensors included, inputs not. The side is called once before, for what stays
    allocated afterwards (libraries' workspaces) belongs to no call.
    """
    inputs = case.op.build(case, device)
    call = case.op.side(side).prepare(inputs, False)
    call()
    torch.cuda.synchronize(device)
    release()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    result = call()
    torch.cuda.synchronize(device)
    peak = torch.cuda.max_memory_allocated(device) - before
    del result
    return int(peak)


CASES = {
    f"{op.title.lower()}, {variant}, bfloat16": (op, variant)
    for op in attention.OPS
    for variant in attention.VARIANTS
}


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_peak_memory_grows_as_the_length_does(name, device, check):
    check(lambda: judge(*CASES[name], device, chosen_sizes()))


def judge(
    op: Op, variant: str, device: torch.device, sizes: Sizes, peak: Peak = measure_peak
) -> tuple[bool, str]:
    """Return whether the peak grows linearly with T, and the peaks."""
    if device.type != "cuda" and peak is measure_peak:
        raise Unavailable("peak memory is that of torch's CUDA allocator")
    q = torch.empty(1, 1, 1, 128, dtype=torch.bfloat16, device=device)
    reasons = impls.why_not("locality_attention", "triton", q, q, q)
    if reasons and peak is measure_peak:
        raise Unavailable("; ".join(reasons))
    peaks = {}
    for T in sizes.memory:
        shape = {"B": 1, "H": 1, "T": T, "d": 128}
        case = Case(op, shape, ("triton",), dtype=torch.bfloat16, variant=variant)
        peaks[T] = peak(case, "triton", device)
    exponent = growth_exponent(peaks)
    shown = ", ".join(f"{value / 2**20:,.1f} MiB at {T:,}" for T, value in peaks.items())
    if exponent is None:
        return False, f"no growth can be told from {shown}"
    return exponent <= LARGEST_EXPONENT, f"T^{exponent:.3f}: {shown}"
