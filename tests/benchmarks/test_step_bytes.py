"""What a pass through LANet moves on a GPU is counted, and is what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import step_bytes
from benchmarks.step_bytes import B, Bytes, T, passes
from ladnet_fast.ops.residual_norm import triton

PAGE = Path(__file__).parents[2] / "kernels" / "residual_norm" / "README.md"


def test_each_tensor_counts_once_and_views_count_nothing():
    x, y = torch.randn(6, 5), torch.randn(5)
    with Bytes() as counted:
        out = (x + y.expand(6, 5)).mT.reshape(30)  # a sum, and a copy in another order
        torch.empty(1000)
    assert counted.read == {"add": 4 * (30 + 5), "clone": 4 * 30}
    assert counted.written == {"add": 4 * 30, "clone": 4 * 30}
    assert counted.total == 4 * (35 + 30 + 60)
    assert out.shape == (30,)


def test_the_page_says_what_is_counted():
    assert step_bytes.table() in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("autocast", [False, True], ids=["bf16", "autocast"])
def test_the_features_are_read_as_often_as_the_layers_need_them(autocast, monkeypatch):
    # Wide features: what else is moved is small beside them. In units of the features in bf16.
    D = 2**17
    monkeypatch.setattr(triton, "MAX_WIDTH", D)
    found = passes(fused=True, padded=True, autocast=autocast, width=D)
    unit, x = 2 * B * T * D, 2 if autocast else 1

    def reads(name, op):
        return round(found[name].read[op] / unit, 1)

    def writes(name, op):
        return round(found[name].written[op] / unit, 1)

    for name in ("forward", "scoring"):
        # One product makes q, k and v; o writes as many numbers, the MLP's first layer reads them.
        assert (reads(name, "addmm"), writes(name, "addmm")) == (2, 1)
        assert (reads(name, "residual_norm"), writes(name, "residual_norm")) == (x + 1, 1)
    # Padding is cleared for the gradient of the projections' weights, and for nothing else.
    assert (reads("forward", "where"), writes("forward", "where")) == (x, x)
    assert (reads("scoring", "where"), writes("scoring", "where")) == (0, 0)
    step = "residual_norm_backward"
    assert (reads("backward", step), writes("backward", step)) == (x + 2, 1)
    if autocast:  # the features once, for the product; and the weights
        assert 2 <= reads("forward", "_to_copy") < 2.2
        assert reads("backward", "_to_copy") < 0.1
