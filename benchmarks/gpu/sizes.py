"""For how long is timed, and how large what is measured beside the cases.

The checks have sizes of the same names, see `tests.gpu.sizes`; those of the cases are in
`.table`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..measure import Plan


@dataclass(frozen=True)
class Sizes:
    """Sizes of a run.

    Parameters
    ----------
    name : str
        "full", "quick" or "tiny".
    plan : Plan
        How long a case is timed.
    matrix : int
        Side of the matrices that measure the device's peak.
    copy_bytes : int
        What is copied to measure its bandwidth.
    check_seconds : float
        A case whose float64 check would take longer is left out.
    """

    name: str
    plan: Plan
    matrix: int
    copy_bytes: int
    check_seconds: float


FULL = Sizes(
    name="full",
    plan=Plan(seconds=1.0, min_rounds=10, max_rounds=100, warm_up=3, sample_seconds=0.002),
    matrix=8192,
    copy_bytes=2**30,
    check_seconds=60.0,
)
QUICK = Sizes(
    name="quick",
    plan=Plan(seconds=0.3, min_rounds=5, max_rounds=30, warm_up=2, sample_seconds=0.001),
    matrix=4096,
    copy_bytes=2**28,
    check_seconds=10.0,
)
TINY = Sizes(
    name="tiny",
    plan=Plan(seconds=0.0, min_rounds=1, max_rounds=1, warm_up=1, sample_seconds=0.0),
    matrix=64,
    copy_bytes=2**16,
    check_seconds=60.0,
)
