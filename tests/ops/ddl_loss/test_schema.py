"""The torch.library operators of the losses: opcheck, autograd, compiled graphs."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

import ladnet_fast.functional as LF
from ladnet_fast.ops.ddl_loss import schema

from .cases import DEFAULTS, offsets, pad, random_bags

#: Those that serve CPU tensors; test_cuda.py and tests/gpu have the others' tests.
IMPLS = [
    impl
    for impl, backend in schema.BACKENDS.items()
    if not backend.why_not(torch.rand(1, 2), torch.rand(1, 2, 3))
]
LENGTHS = [20, 1, 7, 18]


def arguments(layout):
    scores, features, labels = random_bags(LENGTHS, 6, torch.float32)
    if layout == "packed":
        return scores, features, labels, None, offsets(LENGTHS)
    padded = [pad(x, LENGTHS, 0.5) for x in (scores, features)]
    return *padded, labels, torch.tensor(LENGTHS), None


@pytest.mark.parametrize("layout", ["padded", "packed"])
@pytest.mark.parametrize("impl", IMPLS)
def test_operators_pass_opcheck(impl, layout):
    scores, features, labels, lengths, cu_seqlens = arguments(layout)
    options = tuple(DEFAULTS.values())
    call = (
        scores.requires_grad_(), features.requires_grad_(), labels, lengths, cu_seqlens,
        *options, True, impl,
    )  # fmt: skip
    torch.library.opcheck(torch.ops.ladnet_fast.ddl_loss.default, call)
    with torch.no_grad():
        _, score_grads, dynamics = torch.ops.ladnet_fast.ddl_loss(*call)
        call = (
            torch.rand(3), scores.detach(), features.detach(), lengths, cu_seqlens,
            score_grads, dynamics, 1e-6, "none", impl,
        )  # fmt: skip
        op = torch.ops.ladnet_fast.ddl_loss_backward.default
        torch.library.opcheck(op, call)


@pytest.mark.parametrize("layout", ["padded", "packed"])
@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("detach", ["none", "score", "feature"])
def test_the_operator_gives_the_terms_and_gradients_of_the_plain_function(impl, layout, detach):
    scores, features, labels, lengths, cu_seqlens = arguments(layout)
    options = DEFAULTS | {"detach": detach, "margin": 0.8}
    leaves = [x.clone().requires_grad_() for x in (scores, features)]
    terms = schema.ddl_forward(*leaves, labels, lengths, cu_seqlens, *options.values(), True, impl)[
        0
    ]
    plain = [x.clone().requires_grad_() for x in (scores, features)]
    want = LF.ddl_loss(
        *plain, labels, lengths=lengths, cu_seqlens=cu_seqlens, impl="reference", **options
    )
    torch.testing.assert_close(terms, torch.stack(want[1:]))
    weights = torch.tensor([1.0, 0.3, 0.7])
    (terms @ weights).backward()
    (torch.stack(want[1:]) @ weights).backward()
    for got, leaf in zip(leaves, plain, strict=True):
        expected = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        torch.testing.assert_close(got.grad, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("impl", IMPLS)
def test_second_derivatives_are_refused_by_the_operator(impl):
    scores, features, labels, lengths, _ = arguments("padded")
    features.requires_grad_()
    options = tuple(DEFAULTS.values())
    terms = schema.ddl_forward(scores, features, labels, lengths, None, *options, True, impl)[0]
    (grad,) = torch.autograd.grad(terms.sum(), features, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        grad.sum().backward()


@pytest.mark.parametrize("layout", ["padded", "packed"])
@pytest.mark.parametrize("impl", IMPLS)
def test_a_compiled_call_is_one_graph_and_gives_the_eager_result(impl, layout):
    scores, features, labels, lengths, cu_seqlens = arguments(layout)
    leaves = [x.requires_grad_() for x in (scores, features)]

    def loss(scores, features):
        return LF.ddl_loss(
            scores, features, labels, lengths=lengths, cu_seqlens=cu_seqlens, impl=impl
        ).total

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    want, got = loss(*leaves), compiled(*leaves)
    torch.testing.assert_close(got, want)
    for a, e in zip(
        torch.autograd.grad(got, leaves), torch.autograd.grad(want, leaves), strict=True
    ):
        torch.testing.assert_close(a, e)


@pytest.mark.parametrize("impl", IMPLS)
def test_a_third_length_needs_no_new_compilation(impl):
    counter = CompileCounterWithBackend("aot_eager")

    @torch.compile(fullgraph=True, dynamic=True, backend=counter)
    def loss(scores, features, labels):
        return LF.ddl_loss(scores, features, labels, impl=impl).total

    counts = []
    for T in (7, 12, 31):
        scores = torch.rand(4, T, requires_grad=True)
        loss(scores, torch.randn(4, T, 5), torch.tensor([1, 0, 1, 0])).backward()
        counts.append(counter.frame_count)
    assert counts[2] == counts[1]


def test_bad_labels_are_found_inside_a_compiled_graph():
    scores, features, labels, lengths, _ = arguments("padded")

    @torch.compile(fullgraph=True, backend="aot_eager")
    def loss(labels):
        return LF.ddl_loss(scores, features, labels, lengths=lengths).total

    loss(labels.long())
    with pytest.raises(ValueError, match=r"labels\[0\] must be .*got 2"):
        loss(labels.long() + 1)
