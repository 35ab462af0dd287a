"""The example of the README, and the compiled kernels, in whatever environment this runs in.

Run alone by those who build wheels, against what they installed.
"""

from __future__ import annotations

import torch

import ladnet_fast.functional as LF
from ladnet_fast import DDLLoss, LANet, _native


def test_the_five_lines_of_the_readme():
    net, criterion = LANet(feature_dim=1024), DDLLoss()
    x = torch.randn(4, 200, 1024)
    lengths = torch.tensor([200, 64, 128, 9])
    labels = torch.tensor([1, 0, 1, 0])
    scores, features = net(x, lengths)
    terms = criterion(scores, features, labels, lengths)
    terms.total.backward()
    assert scores.shape == (4, 200)
    assert features.shape == (4, 200, 128)
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_the_compiled_kernels_agree_with_the_reference():
    assert _native.cpu is not None, _native.cpu_problem
    q, k, v = (torch.randn(2, 2, 150, 64) for _ in range(3))
    w, b = torch.full((2,), 1 / 16), torch.zeros(2)
    ours = LF.locality_attention(q, k, v, w, b, impl="native")
    exact = LF.locality_attention(*(x.double() for x in (q, k, v, w, b)), impl="reference")
    torch.testing.assert_close(ours.double(), exact, rtol=1e-5, atol=1e-5)
