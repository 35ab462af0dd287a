"""Kernels for sm_90 executed as PTX on the CPU, against float64: wgmma, copies by descriptors, and
warps that are specialised.

Those of specialised warps run twice: with the threads that are least and those that are most
advanced first. A tile that is read before it came or given away before it was read shows in one of
them.
"""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")

from ladnet_fast.kernels.locality_attention import configs

from ..emulators.ptx_on_cpu.interpreter import PtxError, parse
from ..ops.locality_attention.budget import assert_results_within_budget
from ..ops.locality_attention.cases import oracle
from .executed import compile_launch, plan_forward_pass, problem, run_both_passes

ORDERS = ("first", "last")
#: tf32 keeps 10 bits of the operands' significands.
OPERAND_EPS = {"tf32": 2.0**-10}


def choice(precision, head_size, kind, candidate=0):
    """Return a function from kernel and prior to a shipped configuration.

    ``kind`` is that of the forward kernel: "plain", "descriptors" or "specialized".
    """

    def choose(kernel, prior):
        found = configs.candidates(
            kernel, prior=prior, architecture=90, precision=precision, head_size=head_size
        )
        if kernel == "forward":
            return [config for config in found if config.kind == kind][candidate]
        return found[0]

    return choose


def launch_of(precision, head_size, prior, candidate, layout, longest):
    torch.manual_seed(head_size)
    case = problem(precision, head_size, longest, heads=1, layout=layout)
    launch = plan_forward_pass(
        case, prior=prior, precision=precision,
        choose=choice(precision, head_size, "specialized", candidate),
    )  # fmt: skip
    return case, launch


@pytest.mark.parametrize(
    ("precision", "head_size", "prior", "kind", "layout"),
    [
        ("bf16", 128, "additive", "plain", "packed"),  # dK, dV and dQ in one launch
        ("fp16", 128, "logit", "descriptors", "padded"),
        ("bf16", 64, "none", "descriptors", "packed"),
        ("fp16", 64, "logit", "plain", "dense"),
        ("bf16", 32, "additive", "plain", "padded"),
        ("tf32", 64, "additive", "plain", "dense"),
    ],
)
def test_both_passes_are_within_budget(precision, head_size, prior, kind, layout):
    torch.manual_seed(head_size)
    case = problem(precision, head_size, 2 * 128 + 13, heads=1, layout=layout)
    actual = run_both_passes(
        case, prior=prior, precision=precision, architecture=90,
        choose=choice(precision, head_size, kind),
    )  # fmt: skip
    assert_results_within_budget(
        actual, case.inputs, case.grad_out, prior,
        operand_eps=OPERAND_EPS.get(precision, 0.0), **case.bags,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("precision", "head_size", "prior", "layout"),
    [
        ("bf16", 128, "additive", "packed"),
        ("fp16", 64, "logit", "padded"),
        ("bf16", 96, "none", "dense"),
    ],
)
def test_the_backward_pass_of_short_bags_is_within_budget(precision, head_size, prior, layout):
    torch.manual_seed(head_size)
    case = problem(precision, head_size, 2 * 64 + 13, heads=1, layout=layout)
    actual = run_both_passes(
        case, prior=prior, precision=precision, architecture=90,
        choose=choice(precision, head_size, "plain"), backward_kernel=configs.SHORT_BACKWARD,
    )  # fmt: skip
    assert_results_within_budget(actual, case.inputs, case.grad_out, prior, **case.bags)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("precision", "head_size", "prior", "candidate", "layout"),
    [
        ("bf16", 128, "additive", 0, "padded"),
        ("fp16", 128, "logit", 1, "packed"),
        ("bf16", 64, "none", 0, "dense"),
        ("fp16", 64, "additive", 0, "packed"),
        ("bf16", 96, "logit", 0, "padded"),
    ],
)
def test_specialized_warps_are_within_budget(precision, head_size, prior, candidate, layout, order):
    # Three full tiles, so that rings begin anew, and a ragged one; bags of one row and of none.
    case, launch = launch_of(precision, head_size, prior, candidate, layout, 3 * 128 + 13)
    compile_launch(launch, architecture=90)(launch.grid, launch.arguments, order=order)
    out, lse = (launch.arguments[name] for name in ("out", "lse"))
    grads = oracle(*case.inputs, case.grad_out, prior=prior, **case.bags)[1:]
    assert_results_within_budget((out, *grads, lse), case.inputs, case.grad_out, prior, **case.bags)
    if layout == "padded":
        padding = (torch.arange(case.q.shape[2]) >= case.lengths[:, None])[:, None]
        assert not out[padding.expand(out.shape[:3])].any()
        assert not lse[padding.expand(lse.shape)].any()
    softmax_out = launch.arguments["softmax_out"]
    if softmax_out is not None:
        plain = oracle(*case.inputs, case.grad_out, prior="none", **case.bags)[0]
        error = (softmax_out.double() - plain).abs().max()
        assert error <= 2 * torch.finfo(out.dtype).eps * plain.abs().max()


WAIT = r"waitLoop:\s*mbarrier\.try_wait[^;]*;\s*@!complete bra\.uni waitLoop;"


@pytest.fixture(scope="module")
def ragged():
    """The additive kernel, which has every kind of wait, and a block that reaches all of them."""
    _, launch = launch_of("bf16", 64, "additive", 0, "dense", 3 * 128 + 13)
    launch.arguments["w"].fill_(3e-4)  # a band from the first rows to the ragged last ones
    return compile_launch(launch, architecture=90), launch


def test_every_wait_is_needed(ragged):
    """Without any one of them there is an error, or a NaN in the results, in one order at least."""
    kernel, launch = ragged
    places = [*re.finditer(WAIT, kernel.ptx), *re.finditer(r"wgmma\.wait_group\S* 0;", kernel.ptx)]
    assert len(places) > 20
    rows = launch.arguments["out"][0, :, :128]
    assert not shows(kernel, launch, rows)
    for place in places:
        ptx = kernel.ptx[: place.start()] + kernel.ptx[place.end() :]
        fewer = dataclasses.replace(kernel, ptx=ptx, parsed=parse(ptx)[kernel.parsed.name])
        line = kernel.ptx[: place.start()].count("\n") + 1
        assert shows(fewer, launch, rows), f"line {line} of the PTX"


def shows(kernel, launch, rows):
    """Return whether the first block, which fills ``rows``, shows that something is wrong."""
    for order in ORDERS:
        rows.fill_(torch.nan)
        try:
            kernel((1,), launch.arguments, order=order)
        except PtxError:
            return True
        if rows.isnan().any():
            return True
    return False
