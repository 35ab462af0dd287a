"""What the native linear layers hand to the compiled module: threads, strides, the interpreter."""

from __future__ import annotations

import torch

from ladnet_fast.ops.linear import native

from ..native_calls import assert_other_threads_run_meanwhile, assert_threads_follow_torch, record
from .cases import random_layers


def both_passes(layers, grad):
    """Run forward and backward of the residual MLP."""
    _, pres = native.residual_mlp_forward(layers.call(), training=True)
    native.residual_mlp_backward(
        grad, layers.call(), pres, need_input=True, need_residual=True, need_parameters=True
    )


def test_the_number_of_threads_is_that_of_torch(monkeypatch):
    layers, grad = random_layers(2, 5, 8, (6, 3), False), torch.randn(2, 5, 3)
    assert_threads_follow_torch(
        monkeypatch, lambda: both_passes(layers, grad), "LinearChain", calls=2
    )


def test_other_python_threads_run_during_both_passes(monkeypatch):
    layers, grad = random_layers(4, 1000, 256, (256, 64), False), torch.randn(4, 1000, 64)
    assert_other_threads_run_meanwhile(
        monkeypatch, lambda: both_passes(layers, grad), {"linear_forward", "linear_backward"}
    )


def inside(x):
    """Return the values of ``x`` as part of a wider tensor, with its first two axes swapped."""
    wide = torch.nn.functional.pad(x.transpose(0, -2).contiguous(), (3, 5))
    return wide.transpose(0, -2)[..., 3:-5]


def test_views_are_read_where_they_lie(monkeypatch):
    layers = random_layers(2, 5, 8, (6, 3), True)
    layers.x, layers.residual = inside(layers.x), inside(layers.residual)
    layers.weights = [torch.nn.functional.pad(w, (3, 5))[:, 3:-5] for w in layers.weights]
    layers.keeps = [inside(keep) for keep in layers.keeps]
    grad = inside(torch.randn(2, 5, 3))
    recorder = record(monkeypatch)
    both_passes(layers, grad)

    def rows(x):
        return (x.data_ptr(), x.stride(0), x.stride(1))

    assert recorder.given("linear_forward", "input") == [rows(layers.x)]
    assert recorder.given("linear_backward", "input") == [rows(layers.x)]
    assert recorder.given("linear_backward", "grads") == [[(rows(grad), 3)]]
    weights = [described[0][:2] for described in recorder.given("LinearLayer", "weights")]
    assert weights == 2 * [(w.data_ptr(), w.stride(0)) for w in layers.weights]
    options = [options for name, options in recorder.calls if name == "LinearLayer"]
    assert [o["residual"] for o in options if "residual" in o] == 2 * [rows(layers.residual)]
    assert [o["keep"] for o in options if "keep" in o] == 2 * [rows(k) for k in layers.keeps]
