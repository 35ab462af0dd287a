"""What the door lets through, what it refuses, and when LA-Net uses it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import ladnet_fast
from ladnet_fast import LANet
from ladnet_fast.ops import _triton
from ladnet_fast.ops import score_head as head
from ladnet_fast.ops.score_head import schema, score_head, serves

from .cases import random_head

SMALL = {"feature_dim": 12, "hidden_dim": 8, "mlp_dims": (10, 6), "kernel_size": 3}


def test_scores_are_a_causal_convolution_and_a_sigmoid():
    features, weight, bias = random_head(2, 9, 4, 3)
    conv = torch.nn.Conv1d(4, 1, 3).double()
    conv.load_state_dict({"weight": weight, "bias": bias})
    want = torch.sigmoid(conv(F.pad(features.mT, (2, 0)))).squeeze(1)
    torch.testing.assert_close(score_head(features, weight, bias), want)


def test_padding_is_never_read_scores_zero_and_gets_no_gradient():
    features, weight, bias = random_head(2, 9, 4, 3)
    features[0, 5:] = torch.nan
    features.requires_grad_()
    scores = score_head(features, weight, bias, lengths=torch.tensor([5, 9]))
    alone = score_head(features[:1, :5], weight, bias)
    torch.testing.assert_close(scores[:1, :5], alone)
    assert (scores[0, 5:] == 0).all()
    (grad,) = torch.autograd.grad(scores.sum(), features)
    assert (grad[0, 5:] == 0).all()
    assert torch.isfinite(grad).all()


@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 0, 3)])
def test_nothing_to_score(shape):
    features = torch.randn(shape, requires_grad=True)
    weight, bias = torch.randn(1, 3, 2, requires_grad=True), torch.randn(1)
    scores = score_head(features, weight, bias)
    assert scores.shape == shape[:2]
    scores.sum().backward()
    assert (weight.grad == 0).all()


def test_autocast_casts_as_a_convolution_does():
    features, weight, bias = random_head(2, 9, 4, 3, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = score_head(features, weight, bias)
    assert scores.dtype == torch.bfloat16
    torch.testing.assert_close(
        scores.float(), score_head(features, weight, bias), atol=0.02, rtol=0
    )


BAD = {
    "features of rank 2": ({"features": torch.zeros(3, 4)}, ValueError, r"shape \(B, T, C\)"),
    "integer features": ({"features": torch.zeros(2, 9, 4).int()}, TypeError, "features must be"),
    "no channels": ({"features": torch.zeros(2, 9, 0)}, ValueError, "at least 1"),
    "two output channels": ({"weight": torch.zeros(2, 4, 3)}, ValueError, r"\(1, 4, K\)"),
    "other channels": ({"weight": torch.zeros(1, 5, 3)}, ValueError, r"got \(1, 5, 3\)"),
    "no taps": ({"weight": torch.zeros(1, 4, 0)}, ValueError, "K of at least 1"),
    "two biases": ({"bias": torch.zeros(2)}, ValueError, r"bias must have shape \(1,\)"),
    "mixed dtypes": ({"weight": torch.zeros(1, 4, 3).half()}, TypeError, r"weight\.to\("),
    "another device": (
        {"bias": torch.zeros(1, device="meta")},
        ValueError,
        "bias must be on cpu.*meta",
    ),
    "lengths of two bags": ({"lengths": torch.tensor([1])}, ValueError, "2 for this batch"),
    "length too large": (
        {"lengths": torch.tensor([1, 10])},
        ValueError,
        r"lengths\[1\] must be .*10",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name):
    change, error, message = BAD[name]
    features, weight, bias = random_head(2, 9, 4, 3, torch.float32)
    given = {"features": features, "weight": weight, "bias": bias} | change
    with pytest.raises(error, match=message):
        score_head(**given)


def test_a_named_implementation_lists_every_reason():
    features, weight, bias = random_head(1, 4, 2, 40)
    with pytest.raises(ladnet_fast.ImplUnavailableError) as caught:
        score_head(features, weight, bias, impl="triton")
    for reason in ("features is on cpu", "torch.float64", "the kernel size is 40"):
        assert reason in str(caught.value)
    with pytest.raises(ladnet_fast.ImplUnavailableError, match="no such implementation"):
        score_head(features, weight, bias, impl="cuda")


def test_every_backend_answers_why_not():
    head = random_head(1, 4, 2, 3)
    for module in schema.BACKENDS.values():
        assert all(isinstance(reason, str) for reason in module.why_not(*head))
    assert schema.BACKENDS["reference"].why_not(*head) == []


@pytest.mark.parametrize("impl", ["auto", "reference", "native", "cuda"])
def test_cpu_tensors_are_left_to_pytorch(impl):
    head = random_head(1, 4, 2, 3, torch.float32)
    assert not serves(impl, *head)
    with ladnet_fast.use_impl("reference"):
        assert not serves("auto", *head)


def test_triton_by_name_serves_or_says_why():
    head = random_head(1, 4, 2, 3, torch.float32)
    if schema.BACKENDS["triton"].why_not(*head):
        with pytest.raises(ladnet_fast.ImplUnavailableError, match="cannot serve score_head"):
            serves("triton", *head)
    else:
        assert serves("triton", *head)


def test_the_machine_without_triton_is_told_how_to_get_it(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "triton", None)
    _triton._cached_machine_problem.cache_clear()
    try:
        assert "pip install triton" in _triton.problems({})[-1]
    finally:
        _triton._cached_machine_problem.cache_clear()


def test_a_gpu_without_a_c_compiler_is_told_what_is_missing(monkeypatch):
    driver = pytest.importorskip("triton.runtime").driver

    class Broken:
        @property
        def utils(self):
            raise RuntimeError("Failed to find C compiler.\nSpecify one")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
    monkeypatch.setattr(_triton, "INTERPRETED", False)
    uncached = _triton._cached_machine_problem.__wrapped__
    for active, expected in (
        (Broken(), "Failed to find C compiler.); it needs"),
        (object, "utils"),
    ):
        monkeypatch.setattr(driver, "_active", active)
        _triton._launcher_problem.cache_clear()
        assert expected in uncached(0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (7, 5))
    why = uncached(0)
    assert why.startswith("the kernels need a GPU from sm_80 on, not sm_75")
    for alternative in ('impl="reference"', "float32, float64 and float16", "net.cpu()"):
        assert alternative in why
    _triton._launcher_problem.cache_clear()


@pytest.fixture
def fused(monkeypatch):
    """Let LANet find that the kernel serves; the reference stands in for it. Counts the calls."""
    seen = []

    def count(*given, lengths, impl):
        seen.append(lengths)
        return score_head(*given, lengths=lengths, impl="reference")

    monkeypatch.setattr(head, "serves", lambda impl, *given: True)
    monkeypatch.setattr(head, "score_head", count)
    return seen


def test_lanet_hands_its_head_over_whole(fused):
    net, x, lengths = LANet(**SMALL, impl="reference"), torch.randn(2, 9, 12), torch.tensor([9, 4])
    scores, features = net(x, lengths)
    assert len(fused) == 1
    causal = F.pad(features.mT, (2, 0))
    want = torch.sigmoid(net.classifier(causal)).squeeze(1)
    torch.testing.assert_close(scores[1, :4], want[1, :4])
    torch.testing.assert_close(scores[0], want[0])
    assert (scores[1, 4:] == 0).all()


def _hook(net):
    net.classifier.register_forward_hook(lambda *_: None)


def _replace(net):
    net.classifier = torch.nn.Sequential(net.classifier)


def _parametrize(net):
    torch.nn.utils.parametrizations.weight_norm(net.classifier)


def _no_bias(net):
    net.classifier.bias = None


@pytest.mark.parametrize("change", [_hook, _replace, _parametrize, _no_bias])
def test_a_changed_convolution_is_called_as_a_module(fused, change):
    net = LANet(**SMALL, impl="reference")
    change(net)
    net(torch.randn(2, 9, 12))
    assert fused == []
