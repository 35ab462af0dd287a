"""The operators of the linear layers: opcheck, second derivatives, fakes beyond 32 bits."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses import FakeTensorMode

from ladnet_fast.ops.linear import native, schema

from .cases import random_layers

LENGTHS = {"dense": None, "lengths": torch.tensor([6, 0])}


@pytest.mark.parametrize("layout", LENGTHS)
def test_projections_pass_opcheck(layout):
    x = torch.randn(2, 6, 5, requires_grad=True)
    weights = [torch.randn(n, 5, requires_grad=True) for n in (3, 4)]
    biases = [torch.randn(n, requires_grad=True) for n in (3, 4)]
    call = (x, weights, biases, LENGTHS[layout])
    torch.library.opcheck(torch.ops.ladnet_fast.linear_projections.default, call)
    for needs in ((True, True), (False, True), (True, False)):
        with torch.no_grad():
            grads = [torch.randn(2, 6, n) for n in (3, 4)]
            call = (grads, x.detach(), weights, biases, LENGTHS[layout], *needs)
            torch.library.opcheck(torch.ops.ladnet_fast.linear_projections_backward.default, call)


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("layout", LENGTHS)
def test_residual_mlp_passes_opcheck(layout, dropout):
    layers = random_layers(2, 6, 8, (5, 3), dropout)
    for x in layers.leaves:
        x.requires_grad_()
    given = (
        layers.x, layers.residual, layers.norm_weight, layers.norm_bias, layers.weights,
        layers.biases, layers.keeps,
    )  # fmt: skip
    call = (*given, 1.25, 1e-5, LENGTHS[layout], True)
    torch.library.opcheck(torch.ops.ladnet_fast.residual_mlp.default, call)
    with torch.no_grad():
        _, pres = schema.residual_mlp(layers.call(LENGTHS[layout]), True)
        op = torch.ops.ladnet_fast.residual_mlp_backward.default
        for needs in ((True, True, True), (True, False, False), (False, True, True)):
            call = (torch.randn(2, 6, 3), *given, 1.25, 1e-5, LENGTHS[layout], pres, *needs)
            torch.library.opcheck(op, call)


def test_second_derivatives_are_refused():
    x, w, b = torch.randn(1, 4, 3, requires_grad=True), torch.randn(2, 3), torch.randn(2)
    w.requires_grad_()
    (out,) = schema.projections(schema.Projections(x, [w], [b], None))
    (dx,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        dx.sum().backward()
    layers = random_layers(1, 4, 6, (5, 3), False)
    layers.x.requires_grad_()
    features, _ = schema.residual_mlp(layers.call(), True)
    (dx,) = torch.autograd.grad(features.square().sum(), layers.x, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        dx.sum().backward()


def test_fakes_know_sizes_beyond_32_bits():
    with FakeTensorMode():
        x, w, b = torch.empty(1, 2**31, 16), torch.empty(8, 16), torch.empty(8)
        (out,) = schema.projections(schema.Projections(x, [w], [b], None))
        assert out.shape == (1, 2**31, 8)


def test_unused_projections_still_give_the_gradient_of_the_used_one():
    x = torch.randn(1, 4, 3, requires_grad=True)
    weights, biases = [torch.randn(2, 3) for _ in range(2)], [torch.randn(2) for _ in range(2)]
    first, _ = schema.projections(schema.Projections(x, weights, biases, None))
    (got,) = torch.autograd.grad(first.sum(), x)
    torch.testing.assert_close(got, weights[0].sum(0).expand(1, 4, 3))


def test_what_gelu_was_applied_to_is_kept_for_training_only():
    layers = random_layers(1, 4, 6, (5, 4, 3), False)
    for training in (False, True):
        _, pres = native.residual_mlp_forward(layers.call(), training)
        assert [p.shape[-1] for p in pres] == ([5, 4] if training else [])
