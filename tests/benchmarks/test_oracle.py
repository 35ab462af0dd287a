"""The blockwise oracle is the reference."""

from __future__ import annotations

import math

import pytest
import torch

import ladnet_fast.functional as LF
from benchmarks import oracle
from ladnet_fast import LANet


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
def test_blocks_give_the_references_result_and_gradients(prior, monkeypatch):
    monkeypatch.setattr(oracle, "_SLICE", 2 * 2 * 23 * 5)  # five rows a block, the last one short
    leaves = [torch.randn(2, 2, 23, 4, dtype=torch.float64).requires_grad_() for _ in range(3)]
    leaves += [torch.tensor([0.05, -0.02]).double().requires_grad_() for _ in range(2)]
    grad = torch.randn(2, 2, 23, 4, dtype=torch.float64)
    results = []
    for attend in (oracle.blockwise_attention, LF.locality_attention):
        out = attend(*leaves, prior=prior, impl="reference")
        results.append([out, *torch.autograd.grad(out, leaves, grad, materialize_grads=True)])
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("prior", ["additive", "logit"])
def test_scales_of_the_priors_gradient_bound_it(prior, monkeypatch):
    q, k, v, grad = (torch.randn(1, 2, 19, 4) for _ in range(4))
    w, b = torch.tensor([0.05, 0.1]).requires_grad_(), torch.tensor([0.1, 0.2]).requires_grad_()
    out = LF.locality_attention(q, k, v, w, b, prior=prior, impl="reference")
    gradients = torch.autograd.grad(out, (w, b), grad)
    tensors, options = (q, k, v, w, b, grad), {"prior": prior, "scale": 0.5}
    lse, whole = oracle.rounding_scales(*tensors, **options)
    _, exact = LF.locality_attention(
        q, k, v, w, b, prior=prior, scale=0.5, impl="reference", return_lse=True
    )
    assert lse == pytest.approx(float(exact.abs().max()), rel=1e-6)
    monkeypatch.setattr(oracle, "_SLICE", 2 * 19 * 4)
    in_blocks = oracle.rounding_scales(*tensors, **options)
    assert in_blocks == (pytest.approx(lse), pytest.approx(whole))
    for name, gradient in zip(("dw", "db"), gradients, strict=True):
        # Rows are added by their squares, 19 of them: that is at least the sum over sqrt(19).
        assert float(gradient.abs().max()) <= whole[name] * 19**0.5


def test_the_prior_none_has_no_gradient_to_scale():
    x = torch.zeros(1, 1, 3, 2)
    w = torch.zeros(1)
    lse, sizes = oracle.rounding_scales(x, x, x, w, w, x, prior="none", scale=1.0)
    assert lse == pytest.approx(math.log(3))
    assert sizes == {}


def test_networks_in_the_block_give_the_references_scores():
    net = LANet(feature_dim=12, hidden_dim=8, mlp_dims=(8, 4), impl="reference").double().eval()
    x = torch.randn(2, 17, 12, dtype=torch.float64)
    with oracle.blockwise_networks():
        got = net(x)
    torch.testing.assert_close(got, net(x), rtol=1e-12, atol=1e-12)


def test_ragged_bags_are_refused():
    q = torch.zeros(1, 1, 3, 2)
    with pytest.raises(ValueError, match="lengths"):
        oracle.blockwise_attention(q, q, q, prior="none", lengths=torch.tensor([2]))
