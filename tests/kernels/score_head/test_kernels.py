"""The kernels under Triton's interpreter, against float64: whole passes through the operator."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl
from torch._dynamo.testing import CompileCounterWithBackend

from ladnet_fast import DDLLoss, LANet
from ladnet_fast.kernels.score_head import plan
from ladnet_fast.kernels.score_head.rows import rows_left
from ladnet_fast.ops.score_head import schema, score_head
from ladnet_fast.ops.score_head import triton as backend
from tests.ops.score_head.cases import NAMES, assert_within_budget, random_head

ROWS, BACK = plan.FORWARD_ROWS, plan.BACKWARD_ROWS


def both_passes(features, weight, bias, lengths, grad):
    """Return the scores and all gradients by the kernels."""
    leaves = [x.detach().requires_grad_() for x in (features, weight, bias)]
    scores, _ = schema.head_forward(schema.Call(*leaves, lengths, True, "triton"))
    grads = torch.autograd.grad(scores, leaves, grad)
    return dict(zip(NAMES, (scores.detach(), *grads), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["fp32", "fp16"])
@pytest.mark.parametrize("K", [1, 2, 3, 7, 8, 15])
@pytest.mark.parametrize(
    ("T", "C"),
    # Around the blocks of both kernels; one channel, odd widths, more than one block of channels.
    [(1, 1), (2, 7), (BACK - 1, 16), (BACK, 33), (ROWS - 2, 5), (ROWS + 3, 12), (150, 128)],
)
def test_scores_and_gradients_are_those_of_float64(T, C, K, dtype):
    inputs = random_head(2, T, C, K, dtype)
    grad = torch.randn(2, T, dtype=dtype)
    got = both_passes(*inputs, None, grad)
    assert_within_budget(got, inputs, grad, None)


def test_the_longest_kernel_that_is_served():
    inputs = random_head(1, ROWS + 40, 20, backend.MAX_TAPS, torch.float32)
    grad = torch.randn(1, ROWS + 40)
    assert_within_budget(both_passes(*inputs, None, grad), inputs, grad, None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["fp32", "fp16"])
def test_ragged_bags_never_show_their_padding(dtype):
    lengths = torch.tensor([0, 1, 6, 7, BACK, ROWS - 6, 150])
    features, weight, bias = random_head(len(lengths), 150, 24, 7, dtype)
    grad = torch.randn(len(lengths), 150, dtype=dtype)
    padding = torch.arange(150) >= lengths[:, None]
    features[padding] = torch.nan
    grad[padding] = torch.nan
    got = both_passes(features, weight, bias, lengths, grad)
    assert (got["scores"][padding] == 0).all()
    assert (got["features"][padding] == 0).all()
    clean = torch.where(padding, 0, grad)
    assert_within_budget(got, (features, weight, bias), clean, lengths)


def test_padding_gets_zero_even_where_the_weight_is_not_finite():
    features, weight, bias = random_head(2, 9, 5, 3, torch.float32)
    weight[0, 2, 1] = torch.inf
    lengths = torch.tensor([4, 9])
    got = both_passes(features, weight, bias, lengths, torch.randn(2, 9))
    assert (got["scores"][0, 4:] == 0).all()
    assert (got["features"][0, 4:] == 0).all()


def test_a_nan_shows_in_the_scores_that_see_it_and_nowhere_else():
    features, weight, bias = random_head(2, 20, 5, 4, torch.float32)
    features[1, 9, 2] = torch.nan
    scores, _ = schema.head_forward(schema.Call(features, weight, bias, None, False, "triton"))
    expected = torch.zeros(2, 20, dtype=torch.bool)
    expected[1, 9:13] = True
    assert torch.equal(scores.isnan(), expected)


def strided(x):
    """A view with gaps between snippets and bags."""
    B, T, C = x.shape
    return x.new_full((B, T + 1, C + 3), torch.nan)[:, :T, :C].copy_(x)


VIEWS = {
    "with gaps": strided,
    "snippets first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "channels far apart": lambda x: x.mT.contiguous().mT,
    "one bag repeated": lambda x: x[:1].expand(x.shape),
    "not aligned": lambda x: torch.cat((x.new_zeros(1), x.flatten()))[1:].view(x.shape),
}


@pytest.mark.parametrize("view", VIEWS)
def test_any_strides_are_read(view):
    features, weight, bias = random_head(2, 40, 16, 3, torch.float32)
    inputs = (VIEWS[view](features), weight, bias)
    grad = torch.randn(40).expand(2, 40)
    assert_within_budget(both_passes(*inputs, None, grad), inputs, grad, None)


@pytest.mark.parametrize("wanted", ["features", "parameters"])
def test_only_what_is_asked_for_is_computed(wanted):
    leaves = random_head(2, 40, 16, 3, torch.float32)
    grad = torch.randn(2, 40)
    every = both_passes(*leaves, None, grad)
    chosen = leaves[:1] if wanted == "features" else leaves[1:]
    for x in chosen:
        x.requires_grad_()
    scores, _ = schema.head_forward(schema.Call(*leaves, None, True, "triton"))
    got = torch.autograd.grad(scores, chosen, grad)
    names = ["features"] if wanted == "features" else ["weight", "bias"]
    for name, a in zip(names, got, strict=True):
        assert torch.equal(a, every[name])


def test_many_blocks_share_the_parts_and_give_the_same_bits_twice(monkeypatch):
    monkeypatch.setattr(plan, "MAX_PARTS", 3)
    inputs = random_head(2, 5 * BACK + 1, 8, 3, torch.float32)
    grad = torch.randn(inputs[0].shape[:2])
    assert plan.parts(inputs[0]) == 3
    first, second = (both_passes(*inputs, None, grad) for _ in range(2))
    assert_within_budget(first, inputs, grad, None)
    assert all(torch.equal(first[name], second[name]) for name in NAMES)


@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 0, 3)])
def test_nothing_to_score(shape):
    inputs = (torch.randn(shape), torch.randn(1, 3, 2), torch.randn(1))
    got = both_passes(*inputs, None, torch.randn(shape[:2]))
    assert got["scores"].shape == shape[:2]
    assert got["features"].shape == shape
    assert (got["weight"] == 0).all()
    assert (got["bias"] == 0).all()


def test_what_the_kernels_trust_is_checked():
    features, weight, bias = random_head(2, 9, 4, 3, torch.float32)
    operators = torch.ops.ladnet_fast
    with pytest.raises(ValueError, match=r"weight must have shape \(1, 4, K\)"):
        operators.score_head(features, weight[:, :3], bias, None, False, "triton")
    with pytest.raises(ValueError, match="one entry per bag, 2"):
        operators.score_head(features, weight, bias, torch.tensor([1]), False, "triton")
    rows, call = torch.zeros(2, 8), (features, weight, bias, None, True, "triton")
    with pytest.raises(ValueError, match=r"must have shape \(2, 9\)"):
        operators.score_head_backward(rows, *call, rows, rows, True, True)


def test_opcheck_passes():
    leaves = tuple(x.requires_grad_() for x in random_head(2, 9, 5, 3, torch.float32))
    call = (*leaves, torch.tensor([9, 4]), True, "triton")
    torch.library.opcheck(torch.ops.ladnet_fast.score_head.default, call)


def launches(T):
    """Both launches for 2 bags of T snippets, as constexprs and types of run-time arguments."""
    x, weight = torch.empty(2, T, 32, device="meta"), torch.empty(1, 32, 7, device="meta")
    scores = torch.empty(2, T, device="meta")
    parts = torch.empty(plan.parts(x), 32, 7, device="meta")
    return [
        plan.plan_forward(x, weight, weight, None, scores, scores),
        plan.plan_backward(scores, x, weight, scores, None, x, parts, parts),
    ]


@triton.jit
def count_rows(OUT, ENDS, first):
    at = tl.program_id(0)
    tl.store(OUT + at, rows_left(first, tl.load(ENDS + at), 32))


def test_a_block_far_behind_the_end_of_a_bag_has_no_rows():
    first = 2**32 + 7
    ends = torch.tensor([0, 5, first - 2**31 - 9, first - 1, first, first + 3, 2**40])
    out = torch.full((len(ends),), -1, dtype=torch.int32)
    count_rows[(len(ends),)](out, ends, first)
    assert out.tolist() == [0, 0, 0, 0, 0, 3, 32]


@pytest.mark.parametrize("T", [1, 16, 17, 135_000, 2**31 + 5])
def test_lengths_share_a_compiled_kernel(T):
    for launch, other in zip(launches(T), launches(64), strict=True):
        assert launch.constexprs == other.constexprs
        assert launch.arguments.keys() == other.arguments.keys()
        assert max(launch.grid) < 2**31  # what the first axis of a grid may have


def test_a_compiled_call_is_one_graph_and_a_third_length_needs_no_new_one():
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(score_head, fullgraph=True, dynamic=True, backend=counter)
    counts = []
    for T in (7, 12, 31):
        leaves = [x.requires_grad_() for x in random_head(2, T, 6, 3, torch.float32)]
        lengths = torch.tensor([T, 4])
        got = compiled(*leaves, lengths=lengths, impl="triton")
        want = score_head(*leaves, lengths=lengths, impl="triton")
        assert torch.equal(got, want)
        grads = [torch.autograd.grad(scores.sum(), leaves) for scores in (got, want)]
        assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
        counts.append(counter.frame_count)
    assert counts[2] == counts[1]


def test_autocast_reaches_the_kernels_and_gradients_come_back_in_float32():
    leaves = [x.requires_grad_() for x in random_head(2, 40, 16, 3, torch.float32)]
    with torch.autocast("cpu", dtype=torch.float16):
        scores = score_head(*leaves, impl="triton")
    assert scores.dtype == torch.float16
    grad = torch.randn(2, 40).half()
    grads = torch.autograd.grad(scores, leaves, grad)
    assert {x.dtype for x in grads} == {torch.float32}
    # What arrives in float32 was rounded to the kernels' float16 before.
    found = [scores.detach(), *(x.half() for x in grads)]
    halves = tuple(x.detach().half() for x in leaves)
    assert_within_budget(dict(zip(NAMES, found, strict=True)), halves, grad, None)


def test_lanet_trains_through_the_kernels():
    sizes = {"feature_dim": 12, "hidden_dim": 16, "mlp_dims": (10, 6), "kernel_size": 3}
    net = LANet(**sizes, dropout=0.0, impl="reference")
    fused = LANet(**sizes, dropout=0.0, impl="triton")
    fused.load_state_dict(net.state_dict())
    x, lengths, labels = torch.randn(4, 20, 12), torch.tensor([20, 7, 1, 13]), torch.arange(4) % 2
    losses = []
    for each in (net, fused):
        scores, features = each(x, lengths)
        loss = DDLLoss(impl="reference")(scores, features, labels, lengths).total
        loss.backward()
        losses.append(loss.detach())
    # Both are float32 and a few roundings deep: three digits more than would hide a wrong tap.
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=1e-6)
    for (name, a), b in zip(fused.named_parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5, msg=name)
