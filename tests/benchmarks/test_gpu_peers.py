"""The peers of the GPU model: FlexAttention's kernels, compiled and executed; FlashAttention 2."""

from __future__ import annotations

import dataclasses
import math
import re

import pytest
import torch
from torch._inductor.template_heuristics.triton import CUDAConfigHeuristic

import ladnet_fast.functional as LF
from benchmarks.gpu import table
from benchmarks.gpu.model import attention, chips, flash, flex, page
from benchmarks.gpu.model.band import Prior
from benchmarks.resources import flex as flex_code

from ..emulators.ptx_on_cpu.triton_aot import compile_for_sm80

_, H100, *_ = chips.CHIPS
PLAIN = attention.Call(1, 1, 256, 128, torch.bfloat16, Prior("none"))


@pytest.mark.parametrize("architecture", flex_code.ARCHITECTURES)
@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)]
)
def test_the_tiles_are_those_that_torch_takes(monkeypatch, architecture, precision, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: divmod(architecture, 10))
    heuristic = CUDAConfigHeuristic()
    (forward,) = heuristic.get_flex_attn_fwd_configs(128, dtype)
    (backward,) = heuristic.get_flex_attn_bwd_configs(128, dtype)
    assert flex_code.tiles_of(architecture, precision, False) == flex_code.Tiles(
        (forward.block_m, forward.block_n), forward.num_stages, forward.num_warps
    )
    sizes = (backward.block_m1, backward.block_n1, backward.block_m2, backward.block_n2)
    assert flex_code.tiles_of(architecture, precision, True) == flex_code.Tiles(
        sizes, backward.num_stages, backward.num_warps
    )


def test_flex_attention_evaluates_the_prior_everywhere_and_a_band_in_a_second_pass():
    call = dataclasses.replace(PLAIN, T=1024, backward=True)
    plain = flex.kernels(call, H100)
    assert [kernel.name for kernel in plain] == ["forward", "delta", "backward"]

    def total(kernels, unit):
        return sum(block.count * getattr(block, unit) for k in kernels for block in k.blocks)

    # Two products forward, seven backward, each of T x T x d multiply-adds.
    assert total(plain, "tensor") == 9 * 2 * 1024 * 1024 * call.d
    logit = flex.kernels(dataclasses.replace(call, prior=Prior("logit", 1 / 16, 0.0)), H100)
    assert total(logit, "tensor") == total(plain, "tensor")
    # Three times T x T of the softmax, and as many of the prior.
    assert total(logit, "exponentials") - total(plain, "exponentials") == 3 * 1024 * 1024
    assert total(logit, "instructions") > total(plain, "instructions")
    band = flex.kernels(dataclasses.replace(call, prior=Prior("additive", 1 / 16, 0.0)), H100)
    assert band[:3] == plain
    # Of 8 x 8 tiles those on the diagonal and beside it: w (i - j)^2 reaches less than 128 far.
    assert total(band[3:], "tensor") == pytest.approx(total(plain, "tensor") * 22 / 64)
    with pytest.raises(ValueError, match="d = 128"):
        flex.kernels(dataclasses.replace(call, d=64), H100)


def test_ours_is_predicted_to_be_ahead_of_flex_attention_everywhere():
    rows = page.flex_table(table.cases()).splitlines()[2:]
    assert len(rows) > 10
    behind = [row for row in rows if min(map(float, re.findall(r"\d+\.\d\d", row))) < 1]
    assert not behind, behind[0]


def test_ours_is_predicted_to_be_ahead_of_flash_attention_with_the_prior_beside_it():
    rows = page.flash_table(table.cases()).splitlines()[2:]
    assert len(rows) >= 10
    behind = [row for row in rows if min(map(float, re.findall(r"\d+\.\d\d", row))) < 1]
    assert not behind, behind[0]


def test_flash_attention_takes_its_products_the_matrix_and_the_launches():
    a100, _, _, b200 = chips.CHIPS
    call = dataclasses.replace(PLAIN, T=16_384, prior=Prior("additive", 1 / 16, 0.0))
    # 4 T^2 d operations at 73 % of 312 TFLOP/s; 2 T^2 values of 2 bytes, and 4 T d, at 2.039 TB/s.
    square = 16_384.0**2
    own = 4 * square * 128 / (0.73 * 2048 * 1.41e9 * 108)
    matrix = (4 * square + 4 * 16_384 * 256) / 2.039e12
    assert flash.seconds(call, a100) == pytest.approx(own + matrix + 4 * 2e-6)
    more = flash.seconds(dataclasses.replace(call, backward=True), a100)
    matrices = (6 * square + 5 * 16_384 * 256) / 2.039e12
    assert more == pytest.approx(3.5 * own + matrix + matrices + 10 * 2e-6)
    # A bag of 200 fills two blocks of 128 rows, on two multiprocessors of 108.
    short = flash.seconds(dataclasses.replace(call, T=200), a100)
    assert short > 4 * 256**2 * 128 / (0.73 * 2048 * 1.41e9 * 2) + 4 * 2e-6
    assert flash.seconds(call, b200) is None


def test_flex_attention_is_that_of_this_torch_and_triton():
    """Its kernels are recorded; a release with other templates or another compiler shows here."""
    recorded = flex_code.read()
    assert set(recorded) == {variant.name for variant in flex_code.variants()}
    for variant in (
        flex_code.Variant(90, "bf16", "logit", backward=True, divisible=True),
        flex_code.Variant(100, "bf16", "band", backward=False, divisible=False),
    ):
        assert flex_code.compile_variant(variant) == recorded[variant.name], variant.name


@pytest.mark.parametrize("kind", ["none", "logit"])
def test_the_filled_in_templates_compute_attention(kind):
    """As PTX on the CPU: what is counted is FlexAttention, and not something like it."""
    T, scale = 200, 128**-0.5
    q, k, v, grad = (torch.randn(1, 1, T, 128).bfloat16() for _ in range(4))
    given = [x.double().requires_grad_() for x in (q, k, v)]
    w, b = (torch.tensor([x], dtype=torch.float64) for x in (flex_code.W, flex_code.B))
    expected, lse = LF.locality_attention(
        *given, w, b, prior=kind, scale=scale, impl="reference", return_lse=True
    )
    grads = torch.autograd.grad(expected, given, grad.double())
    whole = torch.zeros(1, 1, 1, 1, dtype=torch.int32)
    arguments = {"arg_Q": q, "arg_K": k, "arg_V": v, "arg_MAX": torch.empty(1),
                 "arg_LSE": (lse / math.log(2)).float(), "arg_DO": grad,
                 "arg_DELTA": (expected.detach() * grad.double()).sum(-1).float(),
                 "arg_DQ": torch.empty_like(q), "arg_DV": torch.empty_like(q)}  # fmt: skip
    for backward in (False, True):
        variant = flex_code.Variant(80, "bf16", kind, backward, divisible=False)
        rendered = flex_code.Rendered(variant, T)
        tiles = flex_code.tiles_of(80, "bf16", backward)
        out = torch.full_like(q, torch.nan)
        own = {name: arguments.get(name, whole + name.endswith("BLKS"))
               for name in rendered.arguments(torch.bfloat16)} | {"out_ptr": out}  # fmt: skip
        with rendered.kernel() as kernel:
            compiled = compile_for_sm80(
                kernel, own, {}, num_warps=tiles.warps, num_stages=tiles.stages
            )
        blocks = -(-T // tiles.rows[0])
        compiled((2 * blocks if backward else blocks, 1, 1), own)
        found = [arguments["arg_DQ"], out, arguments["arg_DV"]] if backward else [out]
        for x, y in zip(found, grads if backward else [expected], strict=True):
            torch.testing.assert_close(x.double(), y, rtol=0.02, atol=0.02)
