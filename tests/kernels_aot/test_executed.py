"""Every configuration shipped for sm_80, executed as PTX on the CPU, against float64.

With the race and bounds checks of the interpreter on, and NaN in padding and in every result before
it is written. fp16 shares the configurations of bf16 and runs at two head sizes;
"none" runs at one. LADNET_COMPILE_ALL=1 runs both at all of them.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import re

import pytest
import torch

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")

from ladnet_fast.kernels.locality_attention import configs

from ..ops.locality_attention.budget import assert_results_within_budget
from ..ptx_on_cpu.interpreter import PtxError, parse
from .executed import compile_launch, plan_forward_pass, problem, run_both_passes

PRIORS = ("additive", "logit", "none")
ALL = os.environ.get("LADNET_COMPILE_ALL") == "1"
#: The kernels of "none" are those of "additive" without its band.
CASES = [
    (precision, head_size, prior)
    for precision, head_size, prior in itertools.product(
        configs.PRECISIONS, configs.HEAD_SIZES, PRIORS
    )
    if ALL
    or (precision != "fp16" and (prior != "none" or head_size == 64))
    or ((precision, prior) == ("fp16", "additive") and head_size in (64, 128))
]
#: tf32 keeps 10 bits of the operands' significands.
OPERAND_EPS = {"tf32": 2.0**-10}


def longest_bag(prior: str, precision: str, head_size: int) -> int:
    """Two full tiles and a ragged one for every kernel."""
    chosen = (
        configs.lookup(
            kernel, prior=prior, architecture=80, precision=precision, head_size=head_size
        )
        for kernel in ("forward", "backward_keys")
    )
    return 2 * max(max(config.block_m, config.block_n) for config in chosen) + 13


@pytest.mark.parametrize(("precision", "head_size", "prior"), CASES)
def test_shipped_configurations(precision, head_size, prior):
    packed = prior == "additive"
    heads = 2 if head_size == 16 else 1
    longest = longest_bag(prior, precision, head_size)
    case = problem(precision, head_size, longest, heads=heads, packed=packed)
    actual = run_both_passes(case, prior=prior, precision=precision)
    assert_results_within_budget(
        actual,
        case.inputs,
        case.grad_out,
        prior,
        operand_eps=OPERAND_EPS.get(precision, 0.0),
        **case.bags,
    )
    if not packed:
        padding = torch.arange(case.q.shape[2]) >= case.lengths[:, None, None, None]
        for result in actual[:4]:
            assert not result.masked_fill(~padding.transpose(2, 3), 0).any()


def test_a_barrier_less_is_a_race():
    kernel, launch = plain_forward()
    # The loop's own: what comes before it may be guarded twice.
    loop = kernel.ptx.index("mma.sync")
    barrier = re.compile(r"\bbar\.sync[^;]*;").search(kernel.ptx, loop)
    ptx = kernel.ptx[: barrier.start()] + kernel.ptx[barrier.end() :]
    with pytest.raises(PtxError, match="race"):
        replaced(kernel, ptx)(launch.grid, launch.arguments)


def test_copies_that_are_not_waited_for_leave_nan():
    kernel, launch = plain_forward()
    ptx, count = re.subn(r"\bcp\.async\.wait_group[^;]*;", "", kernel.ptx)
    assert count
    replaced(kernel, ptx)(launch.grid, launch.arguments)
    assert launch.arguments["out"].isnan().any()


def plain_forward():
    case = problem("bf16", 16, longest_bag("none", "bf16", 16), heads=1, packed=True)
    launch = plan_forward_pass(case, prior="none", precision="bf16")
    return compile_launch(launch), launch


def replaced(kernel, ptx):
    return dataclasses.replace(kernel, ptx=ptx, parsed=parse(ptx)[kernel.parsed.name])
