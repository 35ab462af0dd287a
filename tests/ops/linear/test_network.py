"""LA-Net with native linear layers: the same network as PyTorch's, and when it is chosen."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

import ladnet_fast
from ladnet_fast import DDLLoss, LANet
from ladnet_fast.nn import LocalityAttention
from ladnet_fast.nn._paths import is_untouched
from ladnet_fast.ops import _impl
from ladnet_fast.ops.linear import MAX_LAYERS, api, rule, schema

SMALL = {"feature_dim": 24, "hidden_dim": 16, "mlp_dims": (20, 12), "kernel_size": 3}
OPTIONS = {
    "default": {},
    "heads": {"num_heads": 4},
    "deep": {"mlp_dims": (20, 16, 9)},
    "shallow": {"mlp_dims": (12,)},
    "audio": {"query_dim": 8},
    "kernel of one": {"kernel_size": 1},
    "no prior": {"prior": "none", "kernel_size": 9},
}


def pair(**options):
    """Return a network of PyTorch's layers and one of native layers, with the same weights."""
    plain = LANet(**SMALL | options, impl="reference")
    native = LANet(**SMALL | options, impl="auto")
    native.load_state_dict(plain.state_dict())
    return plain, native


def step(net, x, lengths, query):
    """Return scores, features and the gradients of everything after one training step."""
    torch.manual_seed(7)
    x = x.clone().requires_grad_()
    net.zero_grad()
    out = net(x, lengths, query)
    labels = torch.arange(x.shape[0]) % 2
    keep = slice(None) if lengths is None else lengths > 0
    total = DDLLoss(impl="reference")(
        out.scores[keep], out.features[keep], labels[keep],
        lengths=None if lengths is None else lengths[keep],
    ).total  # fmt: skip
    (total + out.features.square().mean() + out.scores.sum()).backward()
    grads = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    return {"scores": out.scores, "features": out.features, "x": x.grad, **grads}


@pytest.fixture
def calls(forced, monkeypatch):
    """Count the calls of the native operator."""
    seen = []
    original = schema.residual_mlp

    def counted(call, training):
        seen.append(call.x.shape)
        return original(call, training)

    monkeypatch.setattr(schema, "residual_mlp", counted)
    return seen


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_training_step_with_dropout_is_that_of_pytorchs_layers(calls, name, ragged):
    plain, native = pair(dropout=0.3, **OPTIONS[name])
    x = torch.randn(4, 11, 24)
    query = torch.randn(4, 11, 8) if name == "audio" else None
    lengths = torch.tensor([11, 5, 0, 1]) if ragged else None
    want, got = step(plain, x, lengths, query), step(native, x, lengths, query)
    assert len(calls) == 1
    assert want.keys() == got.keys()
    for key, value in want.items():
        torch.testing.assert_close(got[key], value, rtol=2e-4, atol=2e-5, msg=key)


def test_padding_with_nan_is_never_read(calls):
    _, net = pair(query_dim=8)
    x, query, lengths = torch.randn(3, 9, 24), torch.randn(3, 9, 8), torch.tensor([9, 0, 4])
    want = step(net, x, lengths, query)
    for n, length in enumerate(lengths):
        x[n, length:] = torch.nan
        query[n, length:] = torch.nan
    got = step(net, x, lengths, query)
    assert len(calls) == 2
    for key, value in want.items():
        assert torch.equal(got[key], value), key


def test_state_dicts_move_between_the_two(calls):
    plain, native = pair()
    assert list(plain.state_dict()) == list(native.state_dict())
    x = torch.randn(2, 9, 24)
    other = LANet(**SMALL).eval()
    other.load_state_dict(native.state_dict())
    assert torch.equal(other(x).scores, native.eval()(x).scores)


def test_frozen_layers_get_no_gradient(calls):
    plain, native = pair(dropout=0.0)
    for net in (plain, native):
        net.attention.requires_grad_(False)
    x = torch.randn(2, 9, 24)
    want, got = step(plain, x, None, None), step(native, x, None, None)
    assert want.keys() == got.keys()
    for key, value in want.items():
        torch.testing.assert_close(got[key], value, rtol=2e-4, atol=2e-5, msg=key)


# ---- When PyTorch's layers are called ------------------------------------------------------------


def hook(net):
    net.mlp[0].register_forward_hook(lambda module, inputs, out: out * 2)


def pre_hook(net):
    net.attention.q.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 2,))


def parametrise(net):
    nn.utils.parametrizations.weight_norm(net.attention.o)


def replace(net):
    net.mlp[1] = nn.ReLU()


def approximate(net):
    net.mlp[1] = nn.GELU(approximate="tanh")


def shorten(net):
    net.mlp = net.mlp[:-1]


def patch_forward(net):
    inner = net.mlp[0].forward
    net.mlp[0].forward = lambda x: inner(x) * 2


def change_dropout(net):
    net.train()
    net.mlp[2].p = 0.0


@pytest.mark.parametrize(
    "change",
    [hook, pre_hook, parametrise, patch_forward, replace, approximate, shorten, change_dropout],
)
def test_a_changed_module_is_called(calls, change):
    plain, native = pair(dropout=0.2)
    x = torch.randn(2, 9, 24)
    for net in (plain, native):
        net.eval()
        change(net)
    want, got = step(plain, x, None, None), step(native, x, None, None)
    assert calls == []
    torch.testing.assert_close(got["features"], want["features"])


def test_hooks_of_all_modules_see_every_layer(calls):
    _, net = pair()
    seen = []
    hook = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(module))
    try:
        net.eval()(torch.randn(2, 9, 24))
    finally:
        hook.remove()
    assert calls == []
    assert {net.attention.q, net.norm, *net.mlp, net.classifier} <= set(seen)


def test_more_layers_than_a_chain_takes_are_pytorchs(calls):
    x = torch.randn(1, 9, 16)
    for layers, native in ((MAX_LAYERS - 1, True), (MAX_LAYERS, False)):
        calls.clear()
        LANet(feature_dim=16, hidden_dim=8, mlp_dims=(8,) * layers).eval()(x)
        assert bool(calls) == native


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_are_pytorchs(calls, dtype):
    _, net = pair()
    out = net.to(dtype)(torch.randn(2, 9, 24, dtype=dtype))
    assert out.features.dtype == dtype
    assert calls == []


def test_autocast_is_pytorchs(calls):
    plain, native = pair()
    x = torch.randn(2, 9, 24)
    with torch.autocast("cpu", torch.bfloat16):
        want, got = plain.eval()(x), native.eval()(x)
    assert calls == []
    assert got.features.dtype == want.features.dtype == torch.bfloat16


@pytest.mark.parametrize("impl", ["reference", "auto", "native"])
def test_impl_reference_and_use_impl_decide(forced, impl):
    x = torch.randn(1, 4, 24)
    assert api.serves(impl, x) == (impl != "reference")
    with ladnet_fast.use_impl("reference"):
        assert api.serves(impl, x) == (impl == "native")


def test_a_small_batch_or_a_machine_without_gain_is_pytorchs(monkeypatch):
    monkeypatch.setattr(api, "_choice", "auto")
    monkeypatch.setattr(rule, "_setting", "off")
    small, large = torch.randn(1, rule.MIN_SNIPPETS - 1, 2), torch.randn(1, rule.MIN_SNIPPETS, 2)
    for pays in (False, True):
        monkeypatch.setattr(rule, "_known", pays)
        assert not api.serves("auto", small)
        assert api.serves("auto", large) == pays


SCRIPT = """
import torch
from ladnet_fast.ops.linear import api
x = torch.randn(1, 3, 2)
print(api.serves("auto", x), api.serves("reference", x))
"""


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ("native", "True False"),
        ("reference", "False False"),
        ("torch", "False False"),
        ("", "False False"),
    ],
)
def test_the_environment_variable_decides(value, printed):
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"LADNET_LINEAR": value, "LADNET_IMPL": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == printed


def test_a_bad_environment_variable_is_named(monkeypatch):
    monkeypatch.setenv("LADNET_LINEAR", "mkl")
    allowed = r"LADNET_LINEAR must be one of auto, reference, native; got 'mkl'"
    with pytest.raises(ValueError, match=allowed):
        _impl.setting("linear", schema.BACKENDS)


# ---- torch.compile and torch.export --------------------------------------------------------------


def test_a_training_step_compiles_to_one_graph_and_again_for_no_third_length(forced):
    _, net = pair(dropout=0.0)
    counter = CompileCounterWithBackend("aot_eager")

    def total(x, lengths):
        out = net(x, lengths)
        return out.scores.square().sum() + out.features.square().mean()

    compiled = torch.compile(total, fullgraph=True, dynamic=True, backend=counter)
    counts = []
    for T in (9, 14, 31):
        x, lengths = torch.randn(3, T, 24), torch.tensor([T, 1, T // 2])
        net.zero_grad()
        got = compiled(x, lengths)
        got.backward()
        grads = [p.grad.clone() for p in net.parameters()]
        net.zero_grad()
        want = total(x, lengths)
        want.backward()
        torch.testing.assert_close(got, want)
        for grad, p in zip(grads, net.parameters(), strict=True):
            torch.testing.assert_close(grad, p.grad, rtol=1e-4, atol=1e-6)
        counts.append(counter.frame_count)
    assert counts[2] == counts[1]


def test_small_and_large_batches_have_a_graph_each_and_no_third(monkeypatch):
    monkeypatch.setattr(api, "_choice", "auto")
    monkeypatch.setattr(rule, "_known", True)
    monkeypatch.setattr(rule, "_setting", "off")
    monkeypatch.setattr(rule, "MIN_SNIPPETS", 40)
    _, net = pair(dropout=0.0)
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(net.eval(), fullgraph=True, dynamic=True, backend=counter)
    counts, native = [], []
    for T in (9, 14, 31, 7, 50):  # 3 bags of them
        x = torch.randn(3, T, 24)
        torch.testing.assert_close(compiled(x).features, net(x).features)
        counts.append(counter.frame_count)
        native.append("residual_mlp" in str(counter.graphs[-1].graph))
    assert counts[1:] == [counts[0] + 1] * 4
    assert native[:2] == [False, True]


def test_dropout_compiles(forced):
    _, net = pair(dropout=0.5)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    features = compiled(torch.randn(2, 40, 24)).features
    assert 0.3 < float((features == 0).float().mean()) < 0.7
    features.sum().backward()


def test_it_exports_with_a_dynamic_length(forced):
    _, net = pair()
    net.eval()
    x, lengths = torch.randn(2, 8, 24), torch.tensor([8, 5])
    T = torch.export.Dim("T", min=2, max=10_000)
    program = torch.export.export(net, (x, lengths), dynamic_shapes=({1: T}, {}))
    assert any("residual_mlp" in str(node.target) for node in program.graph.nodes)
    x, lengths = torch.randn(2, 21, 24), torch.tensor([3, 21])
    torch.testing.assert_close(program.module()(x, lengths), net(x, lengths))


def test_a_subclass_of_the_attention_is_called_and_not_bypassed():
    class Shifted(LocalityAttention):
        def forward(self, x, query, lengths):
            return super().forward(x, query, lengths) + 1

    net = LANet(24, 16, 1, (20, 12))
    assert is_untouched(net)
    net.attention.__class__ = Shifted
    assert not is_untouched(net)
