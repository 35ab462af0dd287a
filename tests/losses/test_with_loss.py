"""The loss in the output."""

from __future__ import annotations

import torch

from ladnet_fast import DDLLoss, LANet
from ladnet_fast.losses import WithLoss


def test_the_loss_comes_first_and_only_when_labels_are_given():
    net = LANet(5, 8, mlp_dims=(6, 4)).eval()
    x, lengths = torch.randn(3, 9, 5), torch.tensor([9, 4, 1])
    labels = torch.tensor([1, 0, 1])
    criterion = DDLLoss(ranking_weight=0.7, detach="score")
    output = WithLoss(net, criterion)(x=x, lengths=lengths, labels=labels)
    assert list(output) == ["loss", "scores", "features"]
    scores, features = net(x, lengths)
    assert torch.equal(output["scores"], scores)
    assert torch.equal(output["loss"], criterion(scores, features, labels, lengths).total)
    assert list(WithLoss(net)(x)) == ["scores", "features"]


def test_gradients_reach_the_network_and_its_state_loads():
    model = WithLoss(LANet(5, 8, mlp_dims=(6, 4)))
    model(torch.randn(2, 7, 5), labels=torch.tensor([0, 1]))["loss"].backward()
    assert all(p.grad is not None for p in model.net.parameters())
    state = {name.removeprefix("net."): entry for name, entry in model.state_dict().items()}
    LANet(5, 8, mlp_dims=(6, 4)).load_state_dict(state)
