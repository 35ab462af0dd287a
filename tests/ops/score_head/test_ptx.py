"""The kernels as Triton builds them for sm_80, executed without a GPU, against float64.

Races in shared memory, accesses outside of an allocation and values that were never written are
errors of the interpreter, or NaN in the outputs, which are full of it before.
"""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")

from ladnet_fast.kernels.score_head import plan
from ladnet_fast.ops.score_head.layout import empty_scores, empty_slopes
from tests.emulators.ptx_on_cpu.triton_aot import compile_for_sm80

from .cases import NAMES, assert_within_budget, random_head

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def execute(launch):
    kernel = compile_for_sm80(
        launch.kernel,
        launch.arguments,
        launch.constexprs,
        num_warps=launch.num_warps,
        num_stages=launch.num_stages,
    )
    kernel((*launch.grid, 1, 1)[:3], launch.arguments)
    return kernel


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "triton"))


def both_passes(features, weight, bias, lengths, grad):
    scores, slopes = (
        x.fill_(torch.nan) for x in (empty_scores(features), empty_slopes(features, True))
    )
    execute(plan.plan_forward(features, weight, bias, lengths, scores, slopes))
    grad_x = torch.full(features.shape, torch.nan, dtype=features.dtype)
    parts = plan.parts(features)
    weight_parts = torch.full((parts, *weight.shape[1:]), torch.nan)
    bias_parts = torch.full((parts,), torch.nan)
    launch = plan.plan_backward(
        grad, features, weight, slopes, lengths, grad_x, weight_parts, bias_parts
    )
    execute(launch)
    sums = (x.sum(0, keepdim=True).to(weight.dtype) for x in (weight_parts, bias_parts))
    return dict(zip(NAMES, (scores, grad_x, *sums), strict=True))


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=list(DTYPES))
@pytest.mark.parametrize(("C", "K"), [(32, 7), (21, 3)], ids=["aligned", "odd"])
def test_the_machine_code_computes_scores_and_gradients(C, K, dtype):
    lengths = torch.tensor([150, 0, 37])
    features, weight, bias = random_head(3, 150, C, K, dtype)
    grad = torch.randn(3, 150).to(dtype)
    padding = torch.arange(150) >= lengths[:, None]
    features[padding], grad[padding] = torch.nan, torch.nan
    got = both_passes(features, weight, bias, lengths, grad)
    assert (got["scores"][padding] == 0).all()
    assert (got["features"][padding] == 0).all()
    clean = torch.where(padding, 0, grad)
    assert_within_budget(got, (features, weight, bias), clean, lengths)


def test_several_blocks_of_channels_and_of_a_program(monkeypatch):
    monkeypatch.setattr(plan, "MAX_PARTS", 2)
    inputs = random_head(1, 3 * plan.BACKWARD_ROWS, 80, 2, torch.bfloat16)
    grad = torch.randn(inputs[0].shape[:2]).bfloat16()
    assert_within_budget(both_passes(*inputs, None, grad), inputs, grad, None)
