"""The blockwise oracle is the reference."""

from __future__ import annotations

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
