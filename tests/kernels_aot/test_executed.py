"""Every configuration shipped for sm_80, executed as PTX on the CPU, against float64.

With the race and bounds checks of the interpreter on, and NaN in padding and in every result before
it is written.
"""

from __future__ import annotations

import dataclasses
import itertools
import re

import pytest
import torch

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")

from ladnet_fast.kernels.locality_attention import configs

from ..emulators.ptx_on_cpu.interpreter import PtxError, parse
from ..ops.locality_attention.budget import assert_results_within_budget
from ..ops.locality_attention.cases import oracle
from .executed import (
    compile_launch,
    plan_forward_pass,
    problem,
    run_both_passes,
    run_split_forward,
)

#: The prior that each kernel is compiled for: some have no part in it.
KERNELS = {
    prior: {
        "forward": prior,
        "preprocess": "additive" if prior == "additive" else "none",
        "backward_keys": prior,
        "backward_queries": "logit" if prior == "logit" else "none",
    }
    for prior in ("additive", "logit", "none")
}
LAYOUTS = ("dense", "padded", "packed")
#: tf32 keeps 10 bits of the operands' significands.
OPERAND_EPS = {"tf32": 2.0**-10}


def choice(precision, head_size, candidate=0, *, one_launch=False):
    """Return a function from kernel and prior to a shipped configuration: the first, or the next
    of those that autotuning tries, where there is one.

    With ``one_launch`` dK, dV and dQ are computed in one where that is shipped, else in two.
    """

    def choose(kernel, prior):
        found = configs.candidates(
            kernel, prior=prior, architecture=80, precision=precision, head_size=head_size
        )
        if kernel == "backward":
            return found[0 if one_launch else -1]
        return found[min(candidate, len(found) - 1)]

    return choose


def cases():
    """Yield every configuration once: bf16 and fp16, which have the same, come in turn."""
    of_16_bit = ("bf16", "fp16")
    for family, (i, size), (k, prior) in itertools.product(
        ["16-bit", "tf32", "fp32"], enumerate(configs.HEAD_SIZES), enumerate(KERNELS)
    ):
        chosen = set()
        for candidate in itertools.count():
            precision = of_16_bit[(i + k + candidate) % 2] if family == "16-bit" else family
            choose = choice(precision, size, candidate)
            found = tuple(choose(*kernel) for kernel in KERNELS[prior].items())
            if found in chosen:
                break
            chosen.add(found)
            yield precision, size, prior, candidate
        precision = of_16_bit[(i + k + 1) % 2] if family == "16-bit" else family
        if choice(precision, size, one_launch=True)("backward", prior) != configs.TWO_LAUNCHES:
            yield precision, size, prior, "one launch"


def longest_bag(choose, prior):
    """Two full tiles and a ragged one for every kernel that loops over tiles of all rows.

    The others, whose programs have one tile of their own, get a full one and a ragged one at least.
    """
    tiles = [choose(*kernel) for kernel in KERNELS[prior].items()]
    looped = max(max(config.block_m, config.block_n) for config in tiles if config.block_n)
    return max(2 * looped, *(config.block_m for config in tiles)) + 13


@pytest.mark.parametrize(("precision", "head_size", "prior", "candidate"), list(cases()))
def test_shipped_configurations(precision, head_size, prior, candidate):
    layout = layout_of(precision, head_size)
    if candidate == "one launch":
        choose = choice(precision, head_size, one_launch=True)
    else:
        choose = choice(precision, head_size, candidate)
    check(precision, head_size, prior, choose, layout)


@pytest.mark.parametrize(
    ("precision", "prior", "layout"),
    [
        ("bf16", "additive", "dense"),
        ("bf16", "logit", "padded"),
        ("bf16", "none", "dense"),
        ("fp16", "additive", "packed"),
        ("tf32", "logit", "dense"),
    ],
)
def test_an_odd_head_size(precision, prior, layout):
    """The columns beyond 40 are masked everywhere; in 16 bits dK, dV and dQ are one launch."""
    # Shipped head sizes have rows of the table, which are made by ptxas; this one has none.
    splits = 3 if layout == "dense" else 1
    choose = choice(precision, 40, one_launch=True)
    assert (choose("backward", prior) == configs.TWO_LAUNCHES) == (precision == "tf32")
    check(precision, 40, prior, choose, layout, assemble=True, splits=splits)


def test_every_prior_and_every_precision_is_executed_in_every_layout():
    """Bags find their rows by other code in each."""
    found = [
        (precision, prior, layout_of(precision, size)) for precision, size, prior, _ in cases()
    ]
    assert {(precision, layout) for precision, _, layout in found} == set(
        itertools.product(configs.PRECISIONS, LAYOUTS)
    )
    assert {(prior, layout) for _, prior, layout in found} == set(
        itertools.product(KERNELS, LAYOUTS)
    )
    assert {(precision, prior) for precision, prior, _ in found} == set(
        itertools.product(configs.PRECISIONS, KERNELS)
    )


def layout_of(precision, head_size):
    """Return how the bags of a case lie: one layout after the other.

    The same for all priors, some of whose kernels are the same: those are compiled once.
    """
    place = configs.HEAD_SIZES.index(head_size) + (precision in ("tf32", "fp32"))
    return LAYOUTS[place % len(LAYOUTS)]


def test_one_far_loop():
    """Which ships for sm_90 alone, whose code nothing here can run."""
    shipped = choice("tf32", 64)

    def choose(kernel, prior):
        one_far_loop = prior == "logit" and kernel.startswith("backward_")
        return dataclasses.replace(shipped(kernel, prior), one_far_loop=one_far_loop)

    check("tf32", 64, "logit", choose, "padded", assemble=True)


@pytest.mark.parametrize("training", [True, False])
def test_short_bags(training):
    # Three tiles of keys, and the prior in the weights, or behind them in training.
    case = problem("bf16", 64, 200, heads=1, layout="padded")
    launch = plan_forward_pass(
        case, prior="additive", precision="bf16", choose=choice("bf16", 64), training=training,
        kernel="short_208",
    )  # fmt: skip
    compile_launch(launch)(launch.grid, launch.arguments)
    out, lse = (launch.arguments[name] for name in ("out", "lse"))
    grads = oracle(*case.inputs, case.grad_out, prior="additive", **case.bags)[1:]
    judge(case, (out, *grads, lse), "additive", "bf16")


def short_backward_cases():
    """Yield every configuration of the short backward pass; dtypes and layouts come in turn."""
    for (i, size), (k, prior) in itertools.product(enumerate((64, 128)), enumerate(KERNELS)):
        question = {"prior": prior, "architecture": 80, "precision": "bf16", "head_size": size}
        for candidate, _ in enumerate(configs.candidates(configs.SHORT_BACKWARD, **question)):
            precision = ("bf16", "fp16")[(i + k + candidate) % 2]
            yield precision, size, prior, candidate, LAYOUTS[(i + k + candidate) % 3]


@pytest.mark.parametrize(
    ("precision", "head_size", "prior", "candidate", "layout"), list(short_backward_cases())
)
def test_the_backward_pass_of_short_bags(precision, head_size, prior, candidate, layout):
    # Full tiles and a ragged one for either half.
    case = problem(precision, head_size, 64 + 13, heads=1, layout=layout)
    short = choice(precision, head_size, candidate)
    others = choice(precision, head_size)
    actual = run_both_passes(
        case, prior=prior, precision=precision, backward_kernel=configs.SHORT_BACKWARD,
        choose=lambda kernel, kind: (short if kernel == configs.SHORT_BACKWARD else others)(
            kernel, kind
        ),
    )  # fmt: skip
    judge(case, actual, prior, precision)


def check(precision, head_size, prior, choose, layout, *, assemble=False, splits=1):
    longest = longest_bag(choose, prior)
    heads = 2 if head_size == 16 else 1
    case = problem(precision, head_size, longest, heads=heads, layout=layout)
    actual = run_both_passes(
        case, prior=prior, precision=precision, choose=choose, assemble=assemble
    )
    judge(case, actual, prior, precision)
    if splits > 1:  # the last of three has no keys or the ragged tail alone
        out, lse = run_split_forward(
            case, prior=prior, precision=precision, choose=choose, splits=splits
        )
        judge(case, (out, *actual[1:-1], lse), prior, precision)
    if prior == "additive" and (precision in ("bf16", "fp16") or head_size == 64):
        # Without a backward pass to come: another kernel, which computes the same. In tf32 and
        # fp32 at one size: compiling takes most of the time here, and of these the most.
        launch = plan_forward_pass(
            case, prior=prior, precision=precision, choose=choose, training=False
        )
        compile_launch(launch)(launch.grid, launch.arguments)
        assert torch.equal(launch.arguments["out"], actual[0])
    if layout == "padded":
        padding = torch.arange(case.q.shape[2]) >= case.lengths[:, None, None, None]
        for result in actual[:4]:
            assert not result.masked_fill(~padding.transpose(2, 3), 0).any()


def judge(case, actual, prior, precision):
    assert_results_within_budget(
        actual,
        case.inputs,
        case.grad_out,
        prior,
        operand_eps=OPERAND_EPS.get(precision, 0.0),
        **case.bags,
    )


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
    choose = choice("bf16", 16)
    case = problem("bf16", 16, longest_bag(choose, "none"), heads=1, layout="packed")
    launch = plan_forward_pass(case, prior="none", precision="bf16", choose=choose)
    return compile_launch(launch), launch


def replaced(kernel, ptx):
    return dataclasses.replace(kernel, ptx=ptx, parsed=parse(ptx)[kernel.parsed.name])
