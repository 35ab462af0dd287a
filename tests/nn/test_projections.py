"""Queries, keys and values from one product are those of three layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from ladnet_fast import LANet, use_impl
from ladnet_fast.nn import _projections
from ladnet_fast.nn._projections import one_product, project


def layers(*widths, D=6):
    return [nn.Linear(D, width).double() for width in widths]


@pytest.mark.parametrize("widths", [(4,), (4, 4), (5, 3, 8)])
def test_values_and_gradients_are_those_of_the_layers(widths):
    x = torch.randn(2, 7, 6, dtype=torch.float64, requires_grad=True)
    own = layers(*widths)
    leaves = [x, *(p for layer in own for p in layer.parameters())]
    want = [layer(x) for layer in own]
    got = one_product(x, own)
    grads = [torch.randn_like(y) for y in want]
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)
    pairs = (torch.autograd.grad(outs, leaves, grads) for outs in (got, want))
    for a, b in zip(*pairs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


def test_on_the_cpu_every_layer_is_called_and_no_bit_changes(monkeypatch):
    monkeypatch.setattr(_projections, "one_product", None)
    net, x = LANet(24, 16, impl="reference"), torch.randn(2, 9, 24)
    own = (net.attention.q, net.attention.k, net.attention.v)
    for a, layer in zip(project(x, own, "auto"), own, strict=True):
        assert torch.equal(a, layer(x))


@pytest.fixture
def joined(monkeypatch):
    """Let one product pay on the CPU; returns how many layers each had."""
    seen = []

    def count(x, own):
        seen.append(len(own))
        return one_product(x, own)

    monkeypatch.setattr(_projections, "_pays", lambda x: True)
    monkeypatch.setattr(_projections, "one_product", count)
    return seen


@pytest.mark.parametrize(("query_dim", "expected"), [(None, [3]), (5, [2])])
def test_a_second_modality_asks_by_a_product_of_its_own(joined, query_dim, expected):
    net = LANet(24, 16, num_heads=2, query_dim=query_dim).double()
    x = torch.randn(2, 9, 24, dtype=torch.float64)
    query = None if query_dim is None else torch.randn(2, 9, 5, dtype=torch.float64)
    lengths = torch.tensor([9, 4])
    got = net.eval()(x, lengths, query)
    assert joined == expected
    with use_impl("reference"):
        want = net(x, lengths, query)
    assert joined == expected  # the reference calls PyTorch's modules
    torch.testing.assert_close(got.scores, want.scores)
    torch.testing.assert_close(got.features, want.features)


def _hook(layer):
    layer.register_forward_hook(lambda *_: None)


def _prune(layer):
    prune.l1_unstructured(layer, "weight", 0.5)


def _no_bias(layer):
    layer.bias = None


def _patch(layer):
    layer.forward = lambda x: nn.Linear.forward(layer, x)


CHANGES = {
    "hooked": _hook,
    "parametrised": nn.utils.parametrizations.weight_norm,
    "pruned": _prune,
    "without a bias": _no_bias,
    "patched": _patch,
    "in another dtype": lambda layer: layer.float(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_layer_that_somebody_has_changed_is_called(joined, change):
    own = layers(4, 4, 4)
    assert _projections._can_join(own)
    CHANGES[change](own[1])
    assert not _projections._can_join(own)
    if change != "in another dtype":
        project(torch.randn(1, 3, 6, dtype=torch.float64), own, "auto")
        assert joined == []


def test_gradients_of_the_layers_may_be_changed_in_place_without_touching_each_other(joined):
    own = layers(4, 4)
    project(torch.randn(1, 3, 6, dtype=torch.float64), own, "auto")
    a, b = one_product(torch.randn(1, 3, 6, dtype=torch.float64), own)
    (a.sum() + b.sum()).backward()
    before = own[1].weight.grad.clone()
    own[0].weight.grad.zero_()
    assert torch.equal(own[1].weight.grad, before)
