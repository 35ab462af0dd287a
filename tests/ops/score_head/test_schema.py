"""The torch.library operators: opcheck, fakes, autograd, compiled graphs."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses import FakeTensorMode

from ladnet_fast.ops.score_head import schema, score_head

from .cases import NAMES, assert_within_budget, differentiate, random_head

LENGTHS = {"full": None, "ragged": torch.tensor([9, 0, 4])}
# The Triton kernels run where there is a GPU or the interpreter: see tests/kernels.
IMPL = "reference"


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=list(LENGTHS))
def test_operators_pass_opcheck(lengths):
    features, weight, bias = (x.requires_grad_() for x in random_head(3, 9, 5, 4, torch.float32))
    call = (features, weight, bias, lengths, True, IMPL)
    torch.library.opcheck(torch.ops.ladnet_fast.score_head.default, call)
    with torch.no_grad():
        scores, slopes = torch.ops.ladnet_fast.score_head(*call)
    for need_input, need_parameters in ((True, True), (True, False), (False, True)):
        given = (
            torch.randn_like(scores), *(x.detach() for x in call[:3]), *call[3:], scores, slopes,
            need_input, need_parameters,
        )  # fmt: skip
        torch.library.opcheck(torch.ops.ladnet_fast.score_head_backward.default, given)


@pytest.mark.parametrize("K", [1, 2, 7, 15])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=list(LENGTHS))
def test_the_closed_form_gives_the_gradients_of_the_plain_function(lengths, K):
    leaves = tuple(x.requires_grad_() for x in random_head(3, 9, 5, K))
    scores, _ = schema.head_forward(schema.Call(*leaves, lengths, True, IMPL))
    grad = torch.randn_like(scores)
    got = (scores.detach(), *torch.autograd.grad(scores, leaves, grad))
    want = differentiate(leaves, grad, lengths, torch.float64)
    for name, a in zip(NAMES, got, strict=True):
        torch.testing.assert_close(a, want[name], rtol=1e-12, atol=1e-14)


def test_half_precision_keeps_the_slope_of_a_score_that_rounds_to_one():
    leaves = tuple(
        x.requires_grad_()
        for x in (
            torch.ones(1, 1, 1, dtype=torch.bfloat16),
            torch.full((1, 1, 1), 8.0, dtype=torch.bfloat16),
            torch.zeros(1, dtype=torch.bfloat16),
        )
    )
    scores, _ = schema.head_forward(schema.Call(*leaves, None, True, IMPL))
    assert scores.item() == 1
    (grad,) = torch.autograd.grad(scores.sum(), leaves[2])
    assert grad.item() == pytest.approx(3.352e-4, rel=0.01)  # sigmoid'(8)


def test_what_is_not_needed_is_not_computed():
    features, weight, bias = random_head(2, 6, 3, 2)
    scores, slopes = schema.head_forward(schema.Call(features, weight, bias, None, False, IMPL))
    assert slopes.numel() == 0
    _, slopes = schema.head_forward(schema.Call(features, weight, bias, None, True, IMPL))
    call = schema.Call(features, weight, bias, None, True, IMPL)
    grads = schema.head_backward(scores, call, scores, slopes, False, True)
    assert [x.numel() for x in grads] == [0, 6, 1]


def test_second_derivatives_are_refused():
    leaves = tuple(x.requires_grad_() for x in random_head(1, 4, 2, 2))
    scores, _ = schema.head_forward(schema.Call(*leaves, None, True, IMPL))
    (grad,) = torch.autograd.grad(scores.square().sum(), leaves[0], create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        grad.sum().backward()


def test_a_compiled_operator_is_one_graph_and_a_third_length_needs_no_new_one():
    counter = CompileCounterWithBackend("aot_eager")

    @torch.compile(fullgraph=True, dynamic=True, backend=counter)
    def head(features, weight, bias):
        return schema.head_forward(schema.Call(features, weight, bias, None, True, IMPL))[0]

    counts = []
    for T in (7, 12, 31):
        leaves = tuple(x.requires_grad_() for x in random_head(2, T, 6, 3, torch.float32))
        scores = head(*leaves)
        grad = torch.randn_like(scores)
        grads = torch.autograd.grad(scores, leaves, grad)
        got = dict(zip(NAMES, (scores.detach(), *grads), strict=True))
        assert_within_budget(got, leaves, grad, None)
        counts.append(counter.frame_count)
    assert counts[2] == counts[1]


def test_fakes_know_sizes_beyond_32_bits():
    with FakeTensorMode():
        features = torch.empty(1, 2**31, 16, dtype=torch.bfloat16, requires_grad=True)
        weight, bias = torch.empty(1, 16, 7, dtype=torch.bfloat16), torch.empty(1)
        scores, slopes = schema.head_forward(
            schema.Call(features, weight, bias, None, True, "triton")
        )
        assert scores.shape == slopes.shape == (1, 2**31)
        assert (scores.dtype, slopes.dtype) == (torch.bfloat16, torch.float32)
        (grad,) = torch.autograd.grad(scores.sum(), features)
        assert grad.shape == features.shape


def test_the_public_door_compiles_whole():
    features, weight, bias = random_head(2, 9, 4, 3)
    compiled = torch.compile(score_head, fullgraph=True, backend="aot_eager")
    lengths = torch.tensor([9, 2])
    want = score_head(features, weight, bias, lengths=lengths)
    torch.testing.assert_close(compiled(features, weight, bias, lengths=lengths), want)
    with pytest.raises(ValueError, match=r"lengths\[0\] must be .*got 10"):
        compiled(features, weight, bias, lengths=torch.tensor([10, 2]))
