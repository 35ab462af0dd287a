"""The losses on a GPU, where there is one: what the emulators of the other tests cannot show."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import ladnet_fast.functional as LF
from ladnet_fast import _native
from ladnet_fast.ops.ddl_loss import cuda
from tests.ops.ddl_loss import native_tools
from tests.ops.ddl_loss.cases import OPTIONS, offsets, pad, random_bags
from tests.ops.ddl_loss.native_tools import WEIGHTS, assert_results_within_budget

PROBLEM = _native.cuda_problem or ("" if torch.cuda.is_available() else "torch sees no GPU")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(PROBLEM), reason=str(PROBLEM))]

LENGTHS = [1, 5, 33, 2, 64, 1000, 1, 130]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def batch(C: int = 24, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    scores, features, labels = random_bags(LENGTHS, C, torch.float32)
    return scores, features.to(dtype), labels


def passes(*given: Tensor, **options) -> tuple[Tensor, ...]:
    """Return terms and gradients on the CPU of a call on the GPU."""
    moved = [x.cuda() for x in given]
    options = {k: v.cuda() if isinstance(v, Tensor) else v for k, v in options.items()}
    results = native_tools.both_passes(*moved, weights=WEIGHTS.cuda(), backend=cuda, **options)
    return tuple(x.cpu() for x in results)


def same_bits(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("C", [1, 24, 128, 130, 1024, 4096])
def test_widths(C, dtype):
    given = batch(C, dtype)
    cu_seqlens = offsets(LENGTHS)
    assert_results_within_budget(passes(*given, cu_seqlens=cu_seqlens), given, cu_seqlens)


@pytest.mark.parametrize(
    "options", OPTIONS, ids=lambda o: "-".join((o["pairing"], o["select"], o["detach"]))
)
def test_options(options):
    given = batch()
    cu_seqlens = offsets(LENGTHS)
    actual = passes(*given, cu_seqlens=cu_seqlens, **options)
    assert_results_within_budget(actual, given, cu_seqlens, **options)


@pytest.mark.parametrize("dtype", DTYPES)
def test_padded_and_packed_give_the_same_bits_twice(dtype):
    scores, features, labels = batch(dtype=dtype)
    packed = passes(scores, features, labels, cu_seqlens=offsets(LENGTHS))
    assert same_bits(packed, passes(scores, features, labels, cu_seqlens=offsets(LENGTHS)))
    padded = passes(
        pad(scores, LENGTHS, torch.nan), pad(features, LENGTHS, torch.nan), labels,
        lengths=torch.tensor(LENGTHS),
    )  # fmt: skip
    inside = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    assert same_bits(packed, (padded[0], padded[1][inside], padded[2][inside]))
    assert not padded[1][~inside].any()
    assert not padded[2][~inside].any()


def training_step(scores: Tensor, features: Tensor, labels: Tensor, cu_seqlens: Tensor):
    terms = LF.ddl_loss(scores, features, labels, cu_seqlens=cu_seqlens, impl="cuda")
    return terms.total, *torch.autograd.grad(terms.total, (scores, features))


def leaves(C: int = 24) -> list[Tensor]:
    scores, features, labels = (x.cuda() for x in batch(C))
    return [
        scores.requires_grad_(), features.requires_grad_(), labels, offsets(LENGTHS).cuda()
    ]  # fmt: skip


def test_a_graph_replays_with_new_inputs():
    given = leaves()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        training_step(*given)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = training_step(*given)
    with torch.no_grad():
        given[0].copy_(torch.rand_like(given[0]))
        given[1].copy_(torch.randn_like(given[1]))
        given[2].logical_not_()
    graph.replay()
    assert same_bits(captured, training_step(*given))


def test_nothing_waits_for_the_device():
    given = leaves()
    training_step(*given)
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        training_step(*given)
    finally:
        torch.cuda.set_sync_debug_mode(mode)


def test_the_current_stream_is_used():
    given = leaves(1024)
    expected = training_step(*given)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)  # a launch on another stream would read before the copy
        late = [torch.empty_like(x).copy_(x).detach() for x in given]
        late[0].requires_grad_()
        late[1].requires_grad_()
        results = training_step(*late)
    stream.synchronize()
    assert same_bits(results, expected)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs a second GPU")
def test_the_device_of_the_tensors_is_used():
    expected = training_step(*leaves())
    moved = [x.detach().to("cuda:1") for x in leaves()]
    moved[0].requires_grad_()
    moved[1].requires_grad_()
    results = training_step(*moved)
    assert torch.cuda.current_device() == 0
    assert same_bits(tuple(x.to("cuda:0") for x in results), expected)


def test_a_compiled_step_gives_the_eager_result():
    given = leaves()
    compiled = torch.compile(
        lambda *x: LF.ddl_loss(x[0], x[1], x[2], cu_seqlens=x[3], impl="cuda").total,
        fullgraph=True, backend="aot_eager",
    )  # fmt: skip
    total = compiled(*given)
    grads = torch.autograd.grad(total, given[:2])
    assert same_bits((total, *grads), training_step(*given))


@pytest.mark.slow
def test_features_of_more_than_two_to_the_31_elements():
    C, short = 4096, 700
    long = 2**31 // C + 1000
    if torch.cuda.mem_get_info()[0] < 3 * 2 * (long + short) * C:
        pytest.skip("needs 13 GB of free GPU memory")
    scores = torch.rand(long + short, device="cuda")
    features = torch.randn(long + short, C, device="cuda", dtype=torch.bfloat16)
    labels = torch.tensor([True, False], device="cuda")
    cu_seqlens = torch.tensor([0, long, long + short], device="cuda")
    weights = torch.tensor([0.0, 0.0, 1.0], device="cuda")
    whole = native_tools.both_passes(
        scores, features, labels, cu_seqlens=cu_seqlens, weights=weights, backend=cuda
    )
    alone = native_tools.both_passes(
        scores[long:], features[long:], labels[1:], weights=weights / 2, backend=cuda,
        cu_seqlens=cu_seqlens[1:] - long,
    )  # fmt: skip
    # The weight of a step, 1 / ((t - 1) N), is halved exactly, so the bits agree.
    assert torch.equal(whole[2][long:], alone[2])
    assert torch.equal(whole[1][long:], alone[1])
