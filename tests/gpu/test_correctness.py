"""Every kernel against float64 at real sizes: ragged bags, all layouts, all dtypes."""

from __future__ import annotations

import pytest
import torch

from benchmarks.check import must_fit
from tests import budget

from .judging import Unavailable, judge_errors
from .problems import Problem, all_problems
from .settings import chosen_sizes

PROBLEMS = all_problems(chosen_sizes())


@pytest.mark.gpu
@pytest.mark.parametrize("name", PROBLEMS)
def test_outputs_and_gradients_are_within_the_budget(name, device, check):
    check(lambda: judge(PROBLEMS[name](device)))


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
