"""Times the cases: every side is checked first, at the size that is timed."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from .. import runner
from ..ceilings import Ceiling
from ..measure import Clock
from ..runner import Measurement
from ..vocabulary import Case
from .ceilings import product_name
from .outcome import device_lost
from .sizes import Sizes

#: Bytes that are free on the CPU, where the sizes are those of tests.
_ENOUGH = 2**40
#: Work of the attention's float64 check in units of one pass over a (T, T, d) product: forward,
#: again for the backward pass, the backward pass, its sizes; for two answers, with and without
#: prior. The factor is what the elementwise work adds.
_CHECK_PASSES = 2 * 12 * 2


def time_case(
    case: Case,
    device: torch.device,
    sizes: Sizes,
    clock: Clock,
    ceilings: list[Ceiling],
    left: float = math.inf,
) -> Iterator[Measurement]:
    """Check and time every side of a case; see `benchmarks.runner.run_case`.

    ``left`` are the seconds that are left for it. What keeps all sides from running (too little
    memory for the check, too long a check) is the reason of each. Whoever calls this in turns calls
    `.outcome.release` in between.
    """
    seconds = check_seconds(case, ceilings)
    if seconds > min(sizes.check_seconds, left):
        reason = (
            f"the float64 check would take about {seconds:.0f} s on this device, more than the "
            f"{min(sizes.check_seconds, left):.0f} s that this run allows"
        )
        yield from all_sides(case, "unavailable", reason)
        return
    try:
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _ENOUGH
        rows = runner.run_case(
            case, plan=sizes.plan, device=str(device), clock=clock, memory=False, available=free,
            lost=device_lost,
        )  # fmt: skip
    except Exception as error:  # inputs that cannot be made: the other cases go on
        yield from all_sides(case, "error", runner.first_line(error))
        return
    yield from rows


def check_seconds(case: Case, ceilings: list[Ceiling]) -> float:
    """Return about how long the float64 check of an attention takes; 0 for other operators."""
    if "d" not in case.shape:
        return 0.0
    name = product_name("float64")
    rate = next((c.value for c in ceilings if c.name == name and c.value), None)
    if rate is None:
        return 0.0
    B, H, T, d = (case.shape[axis] for axis in "BHTd")
    return _CHECK_PASSES * 2.0 * B * H * T * T * d / (rate * 1e9)


def all_sides(case: Case, status: str, reason: str) -> Iterator[Measurement]:
    """Return a row without times for every side of a case."""
    for name in case.sides:
        side = case.op.side(name)
        yield Measurement(
            case.op.name, case.variant, dict(case.shape), case.dtype_name, name, side.own,
            status=status, reason=reason,
        )  # fmt: skip
