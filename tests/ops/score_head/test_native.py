"""The native score head against float64: sizes, padding, views, threads, graphs, and its choice."""

from __future__ import annotations

import pytest
import torch

import ladnet_fast
from ladnet_fast import LANet, _native
from ladnet_fast.ops.linear import api as linear
from ladnet_fast.ops.score_head import native, schema, score_head

from .cases import NAMES, assert_within_budget, random_head

pytestmark = pytest.mark.skipif(_native.cpu is None, reason=str(_native.cpu_problem))


def both_passes(features, weight, bias, lengths, grad):
    """Return the scores and all gradients of the native backend."""
    leaves = [x.detach().requires_grad_() for x in (features, weight, bias)]
    scores = score_head(*leaves, lengths=lengths, impl="native")
    grads = torch.autograd.grad(scores, leaves, grad)
    return dict(zip(NAMES, (scores.detach(), *grads), strict=True))


@pytest.mark.parametrize("K", [1, 2, 7, 40])
@pytest.mark.parametrize(("T", "C"), [(1, 1), (2, 7), (33, 5), (150, 128), (1100, 16)])
def test_scores_and_gradients_are_within_the_error_budget(T, C, K):
    inputs, grad = random_head(2, T, C, K, torch.float32), torch.randn(2, T)
    assert_within_budget(both_passes(*inputs, None, grad), inputs, grad, None)


def test_ragged_bags_never_show_their_padding():
    lengths = torch.tensor([0, 1, 6, 7, 150], dtype=torch.int32)
    features, weight, bias = random_head(5, 150, 24, 7, torch.float32)
    grad = torch.randn(5, 150)
    padding = torch.arange(150) >= lengths[:, None]
    features[padding] = grad[padding] = torch.nan
    got = both_passes(features, weight, bias, lengths, grad)
    assert (got["scores"][padding] == 0).all()
    assert (got["features"][padding] == 0).all()
    clean = torch.where(padding, 0, grad)
    assert_within_budget(got, (features, weight, bias), clean, lengths)


def test_padding_gets_zero_even_where_the_weight_is_not_finite():
    features, weight, bias = random_head(2, 9, 5, 3, torch.float32)
    weight[0, 2, 1] = torch.inf
    got = both_passes(features, weight, bias, torch.tensor([4, 9]), torch.randn(2, 9))
    assert (got["scores"][0, 4:] == 0).all()
    assert (got["features"][0, 4:] == 0).all()


def test_a_nan_shows_in_the_scores_that_see_it_and_nowhere_else():
    features, weight, bias = random_head(2, 20, 5, 4, torch.float32)
    features[1, 9, 2] = torch.nan
    expected = torch.zeros(2, 20, dtype=torch.bool)
    expected[1, 9:13] = True
    assert torch.equal(score_head(features, weight, bias, impl="native").isnan(), expected)


VIEWS = {
    "with gaps": lambda x: torch.nn.functional.pad(x, (0, 3, 0, 1))[:, :-1, :-3],
    "snippets first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "channels far apart": lambda x: x.mT.contiguous().mT,
    "not aligned": lambda x: torch.cat((x.new_zeros(1), x.flatten()))[1:].view(x.shape),
}


@pytest.mark.parametrize("view", VIEWS)
def test_views_give_the_same_bits_as_contiguous_tensors(view):
    inputs, grad = random_head(2, 40, 16, 3, torch.float32), torch.randn(40).expand(2, 40)
    want = both_passes(*inputs, None, grad.contiguous())
    got = both_passes(VIEWS[view](inputs[0]), *inputs[1:], None, grad)
    assert all(torch.equal(got[name], want[name]) for name in NAMES)


def test_bits_do_not_depend_on_the_number_of_threads():
    inputs, grad = random_head(3, 700, 20, 7, torch.float32), torch.randn(3, 700)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(both_passes(*inputs, torch.tensor([700, 3, 655]), grad))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(each[name], found[0][name]) for each in found for name in NAMES)


@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 0, 3)])
def test_nothing_to_score(shape):
    got = both_passes(
        torch.randn(shape), torch.randn(1, 3, 2), torch.randn(1), None, torch.randn(shape[:2])
    )
    assert got["scores"].shape == shape[:2]
    assert got["features"].shape == shape
    assert (got["weight"] == 0).all()
    assert (got["bias"] == 0).all()


@pytest.mark.parametrize("lengths", [None, torch.tensor([9, 4])], ids=["full", "ragged"])
def test_operators_pass_opcheck(lengths):
    leaves = tuple(x.requires_grad_() for x in random_head(2, 9, 5, 3, torch.float32))
    call = (*leaves, lengths, True, "native")
    torch.library.opcheck(torch.ops.ladnet_fast.score_head.default, call)
    with torch.no_grad():
        scores, slopes = torch.ops.ladnet_fast.score_head(*call)
    assert slopes.numel() == 0
    given = [x.detach() if isinstance(x, torch.Tensor) else x for x in call]
    for needs in ((True, True), (True, False), (False, True)):
        back = (torch.randn_like(scores), *given, scores, slopes, *needs)
        torch.library.opcheck(torch.ops.ladnet_fast.score_head_backward.default, back)


def test_a_compiled_call_gives_the_eager_bits():
    leaves = [x.requires_grad_() for x in random_head(2, 12, 6, 3, torch.float32)]
    compiled = torch.compile(score_head, fullgraph=True, backend="aot_eager")
    lengths = torch.tensor([12, 4])
    got, want = (call(*leaves, lengths=lengths, impl="native") for call in (compiled, score_head))
    assert torch.equal(got, want)
    grads = [torch.autograd.grad(scores.sum(), leaves) for scores in (got, want)]
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_it_is_chosen_along_with_the_native_linear_layers(monkeypatch):
    calls = []
    original = native.forward
    monkeypatch.setattr(native, "forward", lambda call: calls.append(call) or original(call))
    net, x = LANet(6, 8, mlp_dims=(7, 5), kernel_size=3), torch.randn(2, 9, 6)
    for choice in ("native", "reference"):
        monkeypatch.setattr(linear, "_choice", choice)
        calls.clear()
        scores = net(x, torch.tensor([9, 3])).scores
        head = (net(x).features, net.classifier.weight, net.classifier.bias)
        score_head(*head)  # "auto"
        assert len(calls) == (3 if choice == "native" else 0)
        assert (scores[1, 3:] == 0).all()


def test_it_says_why_it_cannot_serve(monkeypatch):
    head = random_head(1, 4, 2, 3)
    with pytest.raises(ladnet_fast.ImplUnavailableError, match=r"features is torch\.float64; the"):
        score_head(*head, impl="native")
    monkeypatch.setattr(_native, "cpu_problem", "it was not built")
    reasons = "; ".join(native.why_not(*(x.to("meta") for x in head)))
    for part in ("it was not built", "weight is on meta", "bias is torch.float64"):
        assert part in reasons
    assert schema.BACKENDS["native"] is native
