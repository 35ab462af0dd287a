"""The authors' checkpoint: its layout, and their forward pass written out independently."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from ladnet_fast import LANet
from ladnet_fast.engine import load_model

D, HIDDEN, AUDIO = 24, 12, 6

# The published file, entry by entry.
PUBLISHED = {
    "dis_adj.w": (1,),
    "dis_adj.bias": (1,),
    "cross_attention.cross_attention.q.weight": (128, 128),
    "cross_attention.cross_attention.q.bias": (128,),
    "cross_attention.cross_attention.k.weight": (128, 1024),
    "cross_attention.cross_attention.k.bias": (128,),
    "cross_attention.cross_attention.v.weight": (128, 1024),
    "cross_attention.cross_attention.v.bias": (128,),
    "cross_attention.cross_attention.o.weight": (1024, 128),
    "cross_attention.cross_attention.o.bias": (1024,),
    "cross_attention.ffn.0.weight": (512, 1024, 1),
    "cross_attention.ffn.0.bias": (512,),
    "cross_attention.ffn.3.weight": (128, 512, 1),
    "cross_attention.ffn.3.bias": (128,),
    "cross_attention.norm.weight": (1024,),
    "cross_attention.norm.bias": (1024,),
    "classifier.weight": (1, 128, 7),
    "classifier.bias": (1,),
}
# The same names with small widths: D, hidden, audio, MLP 16 and 10.
SMALL = {1024: D, 512: 16}


def small(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if name.endswith("q.weight"):
        return (HIDDEN, AUDIO)
    narrow = 10 if ".ffn." in name or name.startswith("classifier") else HIDDEN
    return tuple({**SMALL, 128: narrow}.get(size, size) for size in shape)


def authors_state(published: bool = False) -> dict[str, torch.Tensor]:
    """Random weights under the published names; linear layers of the MLP as convolutions."""
    shapes = {n: shape if published else small(n, shape) for n, shape in PUBLISHED.items()}
    state = {}
    for name, shape in shapes.items():
        fan_in = shape[1] if len(shape) > 1 else 1
        state[name] = torch.randn(shape) / math.sqrt(fan_in)
    state["cross_attention.norm.weight"] = 1 + 0.1 * torch.randn(
        shapes["cross_attention.norm.bias"]
    )
    state["dis_adj.w"] = torch.tensor([-0.00728])
    state["dis_adj.bias"] = torch.tensor([-0.0237])
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
    G = torch.exp(-(p["dis_adj.w"] * distance**2 + p["dis_adj.bias"]).abs())
    attention = (q @ k.mT / math.sqrt(len(p["cross_attention.q.bias"])) + G).softmax(-1) @ v
    x = F.linear(attention, p["cross_attention.o.weight"], p["cross_attention.o.bias"]) + video
    x = F.layer_norm(x, x.shape[-1:], p["norm.weight"], p["norm.bias"]).mT
    x = F.gelu(F.conv1d(x, p["ffn.0.weight"], p["ffn.0.bias"]))
    x = F.conv1d(x, p["ffn.3.weight"], p["ffn.3.bias"])
    return F.conv1d(F.pad(x, (6, 0)), p["classifier.weight"], p["classifier.bias"]).sigmoid()[:, 0]


def saved(kind, state, tmp_path):
    prefixed, _, wrapper = kind.partition(" in ")
    if prefixed == "data parallel":
        state = {f"module.{name}": entry for name, entry in state.items()}
    if wrapper == "a mapping":
        return state
    if wrapper == "safetensors":
        save_file(state, tmp_path / "authors.safetensors")
        return tmp_path / "authors.safetensors"
    content = state if wrapper == "a file" else {wrapper: state, "epoch": 3, "optimizer": {}}
    torch.save(content, tmp_path / "authors.pkl")
    return str(tmp_path / "authors.pkl")


WRAPPERS = ("a mapping", "safetensors", "a file", "state_dict", "model", "model_state_dict")
KINDS = [f"{prefix} in {w}" for prefix in ("plain", "data parallel") for w in WRAPPERS]


@pytest.mark.parametrize("kind", KINDS)
def test_it_gives_the_scores_of_their_forward(kind, tmp_path):
    state = authors_state()
    net = LANet.from_authors_checkpoint(saved(kind, state, tmp_path)).eval()
    video, audio = torch.randn(2, 30, D), torch.randn(2, 30, AUDIO)
    want = authors_forward(state, video, audio)
    torch.testing.assert_close(net(video, query=audio).scores.double(), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["plain in a file", "data parallel in state_dict"])
def test_published_shapes_load_by_either_door(kind, tmp_path):
    state = authors_state(published=True)
    assert {name: tuple(entry.shape) for name, entry in state.items()} == PUBLISHED
    path = saved(kind, state, tmp_path)
    video, audio = torch.randn(1, 20, 1024), torch.randn(1, 20, 128)
    want = authors_forward(state, video, audio)
    for net in (LANet.from_authors_checkpoint(path).eval(), load_model(path)):
        scores = net(video, query=audio).scores.double()
        torch.testing.assert_close(scores, want, rtol=1e-4, atol=1e-5)


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
    with pytest.raises(ValueError, match=r"evil\.pt holds pickled objects \(.*print\)") as refused:
        LANet.from_authors_checkpoint(tmp_path / "evil.pt")
    assert "weights_only" not in str(refused.value)
