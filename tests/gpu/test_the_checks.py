"""The checks find what is wrong, and say what they could not look at."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext

import pytest
import torch

from benchmarks.cases import attention
from benchmarks.check import DoesNotFitError
from benchmarks.vocabulary import Case
from tests import budget
from tests.budget import OutputError, compare

from . import problems
from . import test_correctness as correctness
from . import test_determinism as determinism
from . import test_graphs as graphs
from . import test_memory as memory
from .judging import Unavailable, judge_errors
from .sizes import FULL, QUICK, TINY

CPU = torch.device("cpu")


@pytest.fixture
def reference(monkeypatch):
    """Let the reference stand in for the kernels: the checks themselves are tested here."""
    monkeypatch.setitem(problems.OWN, "cpu", dict.fromkeys(problems.OWN["cpu"], "reference"))


def no_memory(*_):
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_errors_are_judged_by_the_worst():
    good, bad = OutputError("out", 0.5, 1.0), OutputError("dq", 3.0, 2.0)
    assert judge_errors([good]) == (True, "worst: out, 0.5 of the 1 allowed")
    assert judge_errors([good, bad]) == (False, "dq is off by 3, allowed 2")
    assert not judge_errors([OutputError("out", float("nan"), 1.0)])[0]


# ---- Correctness ---------------------------------------------------------------------------------


ONCE = dataclasses.replace(TINY, dtypes=(torch.float32,), other_head_sizes=(24,))


def test_every_problem_is_right_with_the_reference(reference):
    made = problems.all_problems(TINY)
    assert {name.partition(":")[0] for name in made} == set(problems.OWN["cpu"])
    found = {name: correctness.judge(make(CPU)) for name, make in made.items()}
    assert {name: detail for name, (passed, detail) in found.items() if not passed} == {}


@pytest.mark.parametrize("sizes", [TINY, ONCE], ids=["tiny", "another head size"])
def test_names_are_known_before_anything_is_made_and_are_the_problems_own(sizes):
    made = problems.all_problems(sizes)
    assert len(set(made)) == len(made)
    for name, make in made.items():
        problem = make(CPU)
        assert name == f"{problem.op}: {problem.name}"


def test_a_real_run_checks_more_head_sizes():
    for sizes in (QUICK, FULL):
        for d in sizes.other_head_sizes:
            assert any(name.endswith(f"d {d}") for name in problems.all_problems(sizes))


def test_lengths_are_ragged_and_reach_both_ends():
    for least in (0, 1):
        lengths = problems.ragged_lengths(TINY, least)
        assert len(lengths) == TINY.bags
        assert (min(lengths), max(lengths)) == (least, TINY.snippets)
    assert problems.ragged_lengths(TINY, 0, seed=1) != problems.ragged_lengths(TINY, 0, seed=2)


@pytest.mark.parametrize("make", ["attention", "ddl", "head", "norm"])
def test_a_wrong_result_fails(reference, make):
    problem = {
        "attention": lambda: problems.attention(CPU, TINY, torch.float32, "padded", "additive"),
        "ddl": lambda: problems.ddl(CPU, TINY, torch.float32, "padded"),
        "head": lambda: problems.head(CPU, TINY, torch.float32),
        "norm": lambda: problems.norm(CPU, TINY, torch.float32),
    }[make]()
    right = problem.own()
    assert correctness.judge(dataclasses.replace(problem, own=lambda: dict(right)))[0]
    for name in right:
        wrong = {**right, name: right[name] * (1 + 1e-3) + 1e-3}
        passed, detail = correctness.judge(dataclasses.replace(problem, own=lambda w=wrong: w))
        assert not passed
        assert name in detail


def test_a_kernel_that_cannot_serve_is_not_judged(reference):
    problem = problems.head(CPU, TINY, torch.float32)
    with pytest.raises(Unavailable, match="no driver"):
        correctness.judge(dataclasses.replace(problem, why_not=["no driver"]))


@pytest.mark.parametrize(
    ("part", "error"),
    [
        ("exact", DoesNotFitError),
        ("scales", DoesNotFitError),
        ("own", torch.OutOfMemoryError),
    ],
)
def test_memory_that_the_check_lacks_is_not_the_kernels_fault(reference, part, error):
    problem = problems.head(CPU, TINY, torch.float32)
    problem = dataclasses.replace(problem, **{part: no_memory})
    with pytest.raises(error):
        correctness.judge(problem)


def test_every_prior_is_among_the_heads():
    assert min(TINY.heads, QUICK.heads, FULL.heads) >= len(problems._HEADS)


def chain(terms):
    """Add up in float32, one term after the other."""
    total = terms.new_zeros(terms.shape[1:], dtype=torch.float32)
    for term in terms:
        total = (total.double() + term).float()
    return total


def test_a_sum_in_one_chain_is_right_and_one_with_a_small_bias_is_wrong():
    T, d = FULL.snippets, 64
    w, b = torch.tensor(problems._HEADS[2]).unbind()
    v = torch.randn(1, T, d, generator=torch.Generator().manual_seed(0))
    terms = torch.exp(-b.double()) * v[0].double()
    # A row of the flat head without the softmax's share, which is small beside it.
    truth = {"out": terms.sum(dim=0)}
    split = {"out": terms.sum(dim=0).float()}
    scales = {"out": budget.chain_size(w[None], b[None], v, torch.float32)}

    def ok(got, scales):
        return compare({"out": got}, truth, split, scales)[0].ok

    assert not ok(chain(terms), {})
    assert ok(chain(terms), scales)
    # As wide as the derivation says: what loses a few bits of every term is found.
    assert not ok(chain(terms * (1 + 2**-14)), scales)
    assert scales["out"] < T * float(v.abs().max()) / 4


def test_a_prior_that_reaches_little_far_hardly_widens_the_budget():
    for w, b in problems._HEADS[:2]:
        v = torch.randn(1, 4096, 16, generator=torch.Generator().manual_seed(0))
        scale = budget.chain_size(torch.tensor([w]), torch.tensor([b]), v, torch.float32)
        assert scale < 200


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_chains_are_added_up_in_float32_whatever_the_inputs_are(dtype):
    def scales(prior):
        problem = problems.attention(CPU, TINY, dtype, "packed", prior)
        ones = dict.fromkeys(("out", "dq", "dk", "dv", "dw", "db"), torch.ones(1))
        return problem.scales(ones)

    assert scales("logit")["out"] == 1
    # In roundings of bfloat16, of which there are 2^16 in one of float32, there is nothing to see.
    assert (scales("additive")["out"] > 1) == (dtype == torch.float32)


# ---- Determinism ---------------------------------------------------------------------------------


def test_bits_are_compared_not_values():
    zero, nan = torch.tensor([0.0]), torch.tensor([float("nan")])
    assert not determinism.same_bits(zero, -zero)
    assert determinism.same_bits(nan, nan.clone())
    assert not determinism.same_bits(zero, zero.double())
    assert not determinism.same_bits(zero, torch.zeros(2))
    assert determinism.same_bits(zero.bfloat16(), zero.bfloat16())


def test_calls_that_repeat_themselves_pass(reference):
    sizes = dataclasses.replace(TINY, dtypes=(torch.float32,), repeats=3)
    families = determinism.families(sizes)
    assert len(families) == 6
    for make in families.values():
        assert determinism.repeat(make(CPU), sizes.repeats)[0]


def test_only_fp32_attention_repeats_shorter_bags(monkeypatch):
    asked = []

    def longest(name):
        return lambda device, sizes, dtype, *_, **__: asked.append((name, dtype, sizes.snippets))

    for name in ("attention", "ddl", "head", "norm"):
        monkeypatch.setattr(determinism, name, longest(name))
    for make in determinism.families(FULL).values():
        make(CPU)
    assert set(asked) == {
        (name, dtype, 1024 if (name, dtype) == ("attention", torch.float32) else 8192)
        for name in ("attention", "ddl", "head", "norm")
        for dtype in FULL.dtypes
    }


def test_a_bit_that_changes_in_one_call_is_found(reference):
    problem = problems.head(CPU, TINY, torch.float32)
    calls = []

    def own():
        calls.append(1)
        found = problem.own()
        if len(calls) == 7:
            found["dweight"][0, 0, 0] = torch.nextafter(
                found["dweight"][0, 0, 0], torch.tensor(torch.inf)
            )
        return found

    changing = dataclasses.replace(problem, own=own)
    passed, detail = determinism.repeat([changing], 10)
    assert not passed
    assert detail.startswith("dweight changed in call 7")


def test_memory_is_poisoned_before_every_repeated_call(reference, monkeypatch):
    problem = problems.head(CPU, TINY, torch.float32)
    order = []
    monkeypatch.setattr(determinism, "_poison", lambda outputs: order.append("poison"))

    def own():
        order.append("call")
        return problem.own()

    assert determinism.repeat([dataclasses.replace(problem, own=own)], 3)[0]
    assert order == ["call", "poison", "call", "poison", "call"]


# ---- Memory and graphs ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bytes_at", "passed"),
    [(lambda T: 512 * T, True), (lambda T: 512 * T + 2**20, True), (lambda T: T**2, False)],
    ids=["linear", "linear and a constant", "quadratic"],
)
def test_peak_memory_must_be_linear(bytes_at, passed):
    asked = []

    def peak(case, side, device):
        asked.append((case.shape["T"], side))
        return bytes_at(case.shape["T"])

    found, detail = memory.judge(attention.FORWARD, "additive", CPU, TINY, peak)
    assert found is passed
    assert detail.startswith("T^")
    assert asked == [(T, "triton") for T in TINY.memory]


def test_the_peak_is_what_a_second_call_adds_to_what_was_there(monkeypatch):
    events = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1000)
    monkeypatch.setattr(
        torch.cuda, "reset_peak_memory_stats", lambda device: events.append("reset")
    )
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 1700)
    op = attention.FORWARD
    case = Case(op, op.tiny, ("eager",), variant="additive")
    side = dataclasses.replace(
        op.side("eager"), prepare=lambda inputs, check: lambda: events.append("call")
    )
    case = dataclasses.replace(case, op=dataclasses.replace(op, sides=(side,)))
    assert memory.measure_peak(case, "eager", CPU) == 700
    assert events == ["call", "reset", "call"]


def test_one_length_tells_no_growth():
    sizes = dataclasses.replace(TINY, memory=(64,))
    found, detail = memory.judge(attention.FORWARD, "additive", CPU, sizes, lambda *_: 1)
    assert not found
    assert "no growth" in detail


GRAPHED = graphs.MAKERS["ddl_loss, padded"]


def beside(made):
    return graphs.beside(CPU, TINY, made, "", "", stream=lambda device: nullcontext())


@pytest.mark.parametrize("name", ["locality_attention, logit, packed", "ddl_loss, padded"])
def test_calls_on_streams_keep_their_bits(name, reference):
    make, layout, kind = graphs.MAKERS[name]
    passed, found = beside(lambda device, sizes, *_: make(device, sizes, layout, kind))
    assert passed, found


def test_streams_that_share_memory_are_found():
    shared = torch.zeros(3)

    def make(*_):
        x = torch.zeros(3)
        return graphs.Captured([x], lambda: {"out": shared.add_(x).clone()}, [])

    assert beside(make) == (False, "out changed in call 1 of stream 1")


def test_a_capture_is_not_tried_while_lengths_are_looked_at(monkeypatch):
    monkeypatch.setenv("LADNET_CHECK", "1")
    with pytest.raises(Unavailable, match=r"LADNET_CHECK=1 .* unset it"):
        graphs.capture(torch.device("cuda"), TINY, *GRAPHED)


def test_what_needs_a_gpu_says_so():
    with pytest.raises(Unavailable, match="CUDA"):
        graphs.capture(CPU, TINY, *GRAPHED)
    with pytest.raises(Unavailable, match="CUDA"):
        graphs.beside(CPU, TINY, *GRAPHED)
    with pytest.raises(Unavailable, match="CUDA"):
        memory.judge(attention.FORWARD, "additive", CPU, TINY)
