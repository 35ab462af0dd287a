"""The authors' checkpoint: its layout, and their forward pass written out independently."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from ladnet_fast import LANet

D, HIDDEN, AUDIO = 24, 12, 6


def authors_state(pointwise: bool = True) -> dict[str, torch.Tensor]:
    """Random weights under the published names; linear layers of the MLP as convolutions."""
    last = (1,) if pointwise else ()
    shapes = {
        "cross_attention.cross_attention.q": (HIDDEN, AUDIO),
        "cross_attention.cross_attention.k": (HIDDEN, D),
        "cross_attention.cross_attention.v": (HIDDEN, D),
        "cross_attention.cross_attention.o": (D, HIDDEN),
        "cross_attention.ffn.0": (16, D, *last),
        "cross_attention.ffn.3": (10, 16, *last),
        "classifier": (1, 10, 7),
    }
    state = {"dis_adj.weight": torch.tensor([-0.00728]), "dis_adj.bias": torch.tensor([-0.0237])}
    for name, shape in shapes.items():
        state[f"{name}.weight"] = torch.randn(shape) / math.sqrt(shape[1])
        state[f"{name}.bias"] = torch.randn(shape[0])
    state["cross_attention.norm.weight"] = 1 + 0.1 * torch.randn(D)
    state["cross_attention.norm.bias"] = torch.randn(D)
    return state


def authors_forward(state, video, audio):
    """softmax(Q K^T / sqrt(hidden) + G), residual and LayerNorm, MLP, causal convolution."""
    p = {k.removeprefix("cross_attention."): v.double() for k, v in state.items()}
    video, audio = video.double(), audio.double()
    q = F.linear(audio, p["cross_attention.q.weight"], p["cross_attention.q.bias"])
    k, v = (
        F.linear(video, p[f"cross_attention.{n}.weight"], p[f"cross_attention.{n}.bias"])
        for n in "kv"
    )
    T = video.shape[1]
    distance = torch.arange(T).double()[:, None] - torch.arange(T)
    G = torch.exp(-(p["dis_adj.weight"] * distance**2 + p["dis_adj.bias"]).abs())
    attention = (q @ k.mT / math.sqrt(HIDDEN) + G).softmax(-1) @ v
    x = F.linear(attention, p["cross_attention.o.weight"], p["cross_attention.o.bias"]) + video
    x = F.layer_norm(x, (D,), p["norm.weight"], p["norm.bias"]).mT
    x = F.gelu(F.conv1d(x, p["ffn.0.weight"], p["ffn.0.bias"]))
    x = F.conv1d(x, p["ffn.3.weight"], p["ffn.3.bias"])
    return F.conv1d(F.pad(x, (6, 0)), p["classifier.weight"], p["classifier.bias"]).sigmoid()[:, 0]


def saved(kind, state, tmp_path):
    if kind == "mapping":
        return state
    if kind == "safetensors":
        save_file(state, tmp_path / "authors.safetensors")
        return tmp_path / "authors.safetensors"
    if kind == "data parallel":
        state = {f"module.{name}": entry for name, entry in state.items()}
    torch.save({"state_dict": state} if kind == "wrapped" else state, tmp_path / "authors.pkl")
    return str(tmp_path / "authors.pkl")


@pytest.mark.parametrize("kind", ["mapping", "safetensors", "torch", "data parallel", "wrapped"])
def test_it_gives_the_scores_of_their_forward(kind, tmp_path):
    state = authors_state()
    net = LANet.from_authors_checkpoint(saved(kind, state, tmp_path)).eval()
    video, audio = torch.randn(2, 30, D), torch.randn(2, 30, AUDIO)
    want = authors_forward(state, video, audio)
    torch.testing.assert_close(net(video, query=audio).scores.double(), want, rtol=1e-4, atol=1e-5)


def test_linear_layers_without_the_convolution_axis_are_the_same():
    state = authors_state()
    flat = {n: x.squeeze(2) if ".ffn." in n and x.dim() == 3 else x for n, x in state.items()}
    video, audio = torch.randn(1, 9, D), torch.randn(1, 9, AUDIO)
    nets = [LANet.from_authors_checkpoint(s).eval() for s in (state, flat)]
    assert torch.equal(nets[0](video, query=audio).scores, nets[1](video, query=audio).scores)


def test_other_weights_are_refused_with_the_difference(tmp_path):
    with pytest.raises(ValueError, match=r"missing entries \['cross_attention.*mlp.0.weight"):
        LANet.from_authors_checkpoint(LANet().state_dict())
    state = authors_state()
    state["extra"] = torch.zeros(1)
    with pytest.raises(ValueError, match=r"unknown entries \['extra'\]"):
        LANet.from_authors_checkpoint(state)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="holds list, not a state dict"):
        LANet.from_authors_checkpoint(tmp_path / "list.pt")
    with pytest.raises(FileNotFoundError, match="absent"):
        LANet.from_authors_checkpoint(tmp_path / "absent.pt")


def test_code_in_a_checkpoint_does_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("executed",)

    torch.save({"classifier.weight": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(Exception, match=r"weights_only|Unsupported"):
        LANet.from_authors_checkpoint(tmp_path / "evil.pt")
