"""Every kernel against float64 at real sizes: ragged bags, all layouts, all dtypes."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch

from benchmarks.check import must_fit
from benchmarks.gpu.outcome import Outcome, Unavailable, judge_errors, run_check
from benchmarks.gpu.sizes import Sizes
from tests import budget

from .problems import Problem, all_problems

STEP = "correctness"


def check_all(device: torch.device, sizes: Sizes) -> Iterator[Outcome]:
    """Check every problem; the budget is that of :mod:`benchmarks.check`."""
    for problem in all_problems(device, sizes):
        yield run_check(STEP, f"{problem.op}: {problem.name}", functools.partial(judge, problem))


def judge(problem: Problem) -> tuple[bool, str]:
    """Return whether a problem's outputs are within the budget, and how far they are off."""
    if problem.why_not:
        raise Unavailable("; ".join(problem.why_not))
    with must_fit("the float64 check"):
        truth = problem.exact(torch.float64)
        plain = problem.exact(problem.dtype)
    got = problem.own()
    # Padding is 0 or wrong: no rounding excuses it.
    padding = got.pop("padding", None)
    if padding is not None and not bool((padding == 0).all()):
        return False, f"{int((padding != 0).sum())} values of padding are not exactly 0"
    with must_fit("the float64 check"):
        return judge_errors(budget.compare(got, truth, plain, problem.scales(truth)))
