"""The gradient of the features from the forward pass: the bits of two passes, never a stale one."""

from __future__ import annotations

import pytest
import torch

import ladnet_fast
import ladnet_fast.functional as LF
from ladnet_fast import _native
from ladnet_fast.ops.ddl_loss import native, one_pass

from .cases import DEFAULTS, OPTIONS, offsets, pad, random_bags

pytestmark = pytest.mark.skipif(_native.cpu is None, reason=f"not built: {_native.cpu_problem}")

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@pytest.fixture(autouse=True)
def _nothing_arrived(monkeypatch):
    monkeypatch.setattr(one_pass, "_arrived", {})


@pytest.fixture
def second_passes(monkeypatch):
    """Count the backward passes that read the features."""
    seen = []
    original = native.backward
    monkeypatch.setattr(
        native, "backward", lambda *given, **options: seen.append(1) or original(*given, **options)
    )
    return seen


def bags(dtype=torch.float32, lengths=(7, 1, 30, 2), C=19):
    scores, features, labels = random_bags(list(lengths), C)
    scores = scores.to(torch.float64 if dtype == torch.float64 else torch.float32)
    return scores, features.to(dtype), labels


def in_two_passes(scores, features, labels, lengths, cu_seqlens, grad_terms, options):
    """Return terms and gradients as the two passes of the backend compute them."""
    given = (scores, features, labels, lengths, cu_seqlens)
    terms, score_grads, dynamics = native.forward(*given, **options, training=True)
    grads = native.backward(
        grad_terms, scores, features, lengths, cu_seqlens, score_grads, dynamics,
        eps=options["eps"], detach=options["detach"],
    )  # fmt: skip
    return (terms, *grads)


@pytest.mark.parametrize("layout", ["padded", "packed"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("C", [1, 3, 16, 33, 128, 1030])
def test_one_pass_has_the_bits_of_two(second_passes, dtype, C, layout):
    lengths = [7, 1, 30, 2]
    scores, features, labels = bags(dtype, lengths, C)
    features[3] = 0  # a row of zeros, a row too small and one too large for its squares
    features[9] *= 1e-30 if dtype in (torch.float32, torch.float64, torch.bfloat16) else 1
    features[20] *= 1e25 if dtype in (torch.float32, torch.float64, torch.bfloat16) else 1
    given = {"lengths": None, "cu_seqlens": offsets(lengths)}
    if layout == "padded":
        scores, features = pad(scores, lengths, torch.nan), pad(features, lengths, torch.nan)
        given = {"lengths": torch.tensor(lengths), "cu_seqlens": None}
    arrives = torch.tensor([1.0, 0.1, 0.7], dtype=scores.dtype)
    want = in_two_passes(scores, features, labels, *given.values(), arrives, DEFAULTS)
    second_passes.clear()
    leaves = [x.clone().requires_grad_() for x in (scores, features)]
    out = LF.ddl_loss(*leaves, labels, **given, alignment_weight=0.7, impl="native")
    grads = torch.autograd.grad(out.total, leaves)
    assert second_passes == []
    assert torch.equal(torch.stack(out[1:]), want[0])
    for got, expected in zip(grads, want[1:], strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize(
    "options", OPTIONS, ids=lambda o: f"{o['pairing']}-{o['select']}-{o['detach']}"
)
def test_every_option_has_the_bits_of_two_passes(options):
    scores, features, labels = bags()
    cu_seqlens = offsets([7, 1, 30, 2])
    arrives = torch.tensor([1.0, 0.1, 1.0])
    want = in_two_passes(scores, features, labels, None, cu_seqlens, arrives, options)
    leaves = [x.clone().requires_grad_() for x in (scores, features)]
    out = LF.ddl_loss(*leaves, labels, cu_seqlens=cu_seqlens, impl="native", **options)
    for got, expected in zip(torch.autograd.grad(out.total, leaves), want[1:], strict=True):
        assert torch.equal(got, expected)


def test_the_bits_are_those_of_any_number_of_threads_and_strides():
    features = torch.randn(3, 5000, 40)[:, :, 3:36].transpose(0, 1).contiguous().transpose(0, 1)
    scores, labels = torch.rand(3, 5000), torch.tensor([True, False, True])
    found = []
    for threads in (1, 3):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        leaf = features.detach().requires_grad_()
        out = LF.ddl_loss(scores, leaf, labels, impl="native")
        found.append(torch.autograd.grad(out.total, leaf)[0])
        torch.set_num_threads(before)
    assert torch.equal(*found)
    want = in_two_passes(
        scores, features, labels, None, None, torch.tensor([1.0, 0.1, 1.0]), DEFAULTS
    )
    assert torch.equal(found[0], want[2])


def step(scale, weight=1.0):
    """Return the features' gradient of ``scale`` times the total, and that of two passes."""
    scores, features, labels = bags()
    cu_seqlens = offsets([7, 1, 30, 2])
    leaf = features.clone().requires_grad_()
    out = LF.ddl_loss(
        scores, leaf, labels, cu_seqlens=cu_seqlens, alignment_weight=weight, impl="native"
    )
    (got,) = torch.autograd.grad(out.total * scale, leaf)
    arrives = torch.tensor([1.0, 0.1, weight]) * scale
    want = in_two_passes(scores, features, labels, None, cu_seqlens, arrives, DEFAULTS)
    return got, want[2]


def test_another_factor_is_computed_in_its_own_pass_and_expected_from_then_on(second_passes):
    passes = []
    for scale in (1.0, 0.25, 0.25, 0.25, 0.25, 3.0, 1.0, 3.0, 1.0):
        second_passes.clear()
        got, want = step(scale)
        assert torch.equal(got, want)
        passes.append(len(second_passes) - 1)  # one is that of `in_two_passes`
    #               first 1/4: wrong; second: nothing expected; then 1/4 is expected
    assert passes == [0, 1, 1, 0, 0, 1, 1, 1, 1]


def test_a_term_that_does_not_count_makes_no_gradient(second_passes):
    for _ in range(2):
        got, want = step(1.0, weight=0.0)
        assert torch.equal(got, want)
        assert not got.any()


def test_a_second_backward_pass_gets_the_same_gradient_in_memory_of_its_own(second_passes):
    scores, features, labels = bags()
    leaf = features.requires_grad_()
    total = LF.ddl_loss(
        scores, leaf, labels, cu_seqlens=offsets([7, 1, 30, 2]), impl="native"
    ).total
    (first,) = torch.autograd.grad(total, leaf, retain_graph=True)
    (again,) = torch.autograd.grad(total, leaf)
    assert len(second_passes) == 1
    assert torch.equal(first, again)
    assert first.data_ptr() != again.data_ptr()


def test_a_leaf_takes_the_gradient_without_a_copy(monkeypatch):
    made = []
    original = native.forward_with_gradient

    def watched(*given, **options):
        found = original(*given, **options)
        made.append(found[3].data_ptr())
        return found

    monkeypatch.setattr(native, "forward_with_gradient", watched)
    scores, features, labels = bags()
    leaf = features.requires_grad_()
    LF.ddl_loss(
        scores, leaf, labels, cu_seqlens=offsets([7, 1, 30, 2]), impl="native"
    ).total.backward()
    assert leaf.grad.data_ptr() == made[0]


def test_a_second_derivative_is_refused():
    scores, features, labels = bags()
    leaf = features.requires_grad_()
    total = LF.ddl_loss(
        scores, leaf, labels, cu_seqlens=offsets([7, 1, 30, 2]), impl="native"
    ).total
    (grad,) = torch.autograd.grad(total, leaf, create_graph=True)
    with pytest.raises(RuntimeError, match="reference"):
        grad.sum().backward()


def test_nothing_is_made_where_the_features_need_no_gradient(monkeypatch):
    monkeypatch.setattr(one_pass, "ddl_terms", None)
    scores, features, labels = bags()
    cu_seqlens = offsets([7, 1, 30, 2])
    LF.ddl_loss(scores.requires_grad_(), features, labels, cu_seqlens=cu_seqlens, impl="native")
    with torch.no_grad(), ladnet_fast.use_impl("native"):
        LF.ddl_loss(scores, features.requires_grad_(), labels, cu_seqlens=cu_seqlens)


def test_the_correlation_needs_no_gradient_of_the_product(second_passes):
    scores, features, labels = bags()
    grads = []
    for impl in ("native", "reference"):
        leaf = features.clone().requires_grad_()
        out = LF.ddl_loss(
            scores, leaf, labels, cu_seqlens=offsets([7, 1, 30, 2]), impl=impl,
            alignment_form="correlation",
        )  # fmt: skip
        grads.append(torch.autograd.grad(out.total, leaf)[0])
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-6)
