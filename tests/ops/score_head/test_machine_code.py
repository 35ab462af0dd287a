"""What Triton's compiler makes of the kernels for GPUs that are not here."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")

from benchmarks.resources.triton_build import Build
from benchmarks.resources.ttir import chained_products
from ladnet_fast.kernels.score_head import plan
from ladnet_fast.ops.score_head.triton import MAX_TAPS

#: What a block may have on every GPU from sm_80 on: sm_86, 89 and 120 have no more.
LEAST_SHARED_BYTES = 99 * 1024


def launches(dtype, T=200, K=7, C=128, B=128):
    """Both launches with the sizes of LA-Net, as in training on ragged bags."""
    x, weight = (
        torch.empty(B, T, C, dtype=dtype, device="meta"),
        torch.empty(1, C, K, device="meta"),
    )
    weight, bias = weight.to(dtype), torch.empty(1, dtype=dtype, device="meta")
    lengths = torch.empty(B, dtype=torch.int64, device="meta")
    scores = torch.empty(B, T, dtype=dtype, device="meta")
    slopes = torch.empty(B, T, device="meta")
    parts = plan.parts(x)
    weight_parts, bias_parts = (torch.empty(s, device="meta") for s in ((parts, C, K), (parts,)))
    return {
        "forward": plan.plan_forward(x, weight, bias, lengths, scores, slopes),
        "backward": plan.plan_backward(
            scores, x, weight, slopes, lengths, x, weight_parts, bias_parts
        ),
    }


def build(launch, architecture):
    options = {"num_warps": launch.num_warps, "num_stages": launch.num_stages}
    given = {**launch.arguments, **launch.constexprs}
    return Build(launch.kernel, given, architecture=architecture, options=options)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "triton"))


@pytest.mark.parametrize("pass_", ["forward", "backward"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=["bf16", "fp32"])
@pytest.mark.parametrize("architecture", [80, 90, 100, 120])
def test_nothing_is_spilled_and_float32_stays_float32(architecture, dtype, pass_):
    binary = build(launches(dtype)[pass_], architecture).compile()
    assert binary.read()[0].local == 0  # nothing is spilled
    assert binary.shared_bytes <= LEAST_SHARED_BYTES
    assert "tf32" not in binary.ptx
    # On sm_100 these would be compiled to wrong code.
    assert not chained_products(binary.ttir)
    # Rows are read 16 bytes at a time.
    assert "ld.global.v4" in binary.ptx or "cp.async.cg.shared.global" in binary.ptx


@pytest.mark.parametrize("pass_", ["forward", "backward"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=["bf16", "fp32"])
def test_the_longest_kernel_that_is_served_fits(dtype, pass_):
    binary = build(launches(dtype, K=MAX_TAPS)[pass_], 80).compile()
    assert binary.read()[0].local == 0  # nothing is spilled
    assert binary.shared_bytes <= LEAST_SHARED_BYTES


@pytest.mark.parametrize("pass_", ["forward", "backward"])
def test_every_length_has_the_same_code(pass_):
    """1, a multiple of 16 and a prime specialise alike; so do the batches that they come in."""
    fingerprints = {
        build(launches(torch.bfloat16, T=T, B=B)[pass_], 90).fingerprint
        for T, B in ((1, 2), (16, 1), (200, 128), (134_999, 1))
    }
    assert len(fingerprints) == 1
