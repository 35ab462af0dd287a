"""Additive priors that reach over long bags: the compiled kernels multiply them in blocks."""

from __future__ import annotations

import pytest
import torch

from .cases import random_qkv
from .native_tools import assert_within_budget, both_passes, needs_native
from .passes import forward

pytestmark = needs_native

FLOATS = (torch.float32, torch.float64)
DTYPES = (*FLOATS, torch.bfloat16, torch.float16)

#: Constant, all but constant, and as wide as the bag; signs that agree, and that differ only beyond
#: the bag. The last three turn inside a bag of 1,000 snippets, where the prior has a kink.
WIDE = [
    (0.0, 0.0), (0.0, 0.7), (0.0, -1.2), (0.0, 20.0),
    (1e-12, 0.3), (1e-7, 0.0), (-1e-7, 0.0), (2e-6, 0.3), (-2e-6, -0.3), (2e-5, 2.0), (1e-4, 0.1),
    (1e-7, -0.4), (-1e-7, 0.4),
    (1e-5, -0.5), (-1e-5, 0.5), (-4e-6, 3.0),
]  # fmt: skip


def _inputs(B, H, T, d, dtype, w, b):
    real = torch.float64 if dtype == torch.float64 else torch.float32
    return [
        *random_qkv(B, H, T, d, dtype),
        torch.full((H,), w, dtype=real),
        torch.full((H,), b, dtype=real),
    ]


def _check(B, H, T, d, dtype, w, b, **options):
    inputs = _inputs(B, H, T, d, dtype, w, b)
    assert_within_budget(inputs, torch.randn(B, H, T, d).to(dtype), "additive", **options)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(("w", "b"), WIDE)
def test_every_wide_prior_is_within_budget(w, b, dtype):
    _check(1, 1, 1003, 8, dtype, w, b)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("d", [1, 17, 64, 100, 256])
def test_every_head_size_is_within_budget(d, dtype):
    _check(1, 1, 801, d, dtype, 3e-6, 0.2)


@pytest.mark.parametrize("T", [383, 384, 512, 767, 769, 1024, 1025, 2049])
def test_every_length_is_within_budget(T):
    _check(1, 1, T, 16, torch.float32, 1e-6, 0.1)


def test_heads_of_different_width_are_within_budget():
    inputs = _inputs(1, 4, 900, 16, torch.float32, 0.0, 0.2)
    inputs[3] = torch.tensor([0.0, 0.01, 3e-6, -2e-6])
    inputs[4] = torch.tensor([0.3, 0.1, 0.0, 0.4])
    assert_within_budget(inputs, torch.randn(1, 4, 900, 16), "additive")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_ragged_bags_are_within_budget(dtype):
    lengths = torch.tensor([1100, 0, 40, 850])
    _check(4, 2, 1100, 20, dtype, 2e-6, 0.1, lengths=lengths)


def test_packed_bags_are_within_budget():
    cu_seqlens = torch.tensor([0, 900, 900, 907, 2000])
    _check(1, 2, 2000, 24, torch.float32, -1e-6, -0.1, cu_seqlens=cu_seqlens)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("w", [0.0, 4e-6])
def test_any_number_of_threads_gives_the_same_bits(w, dtype):
    inputs = _inputs(1, 2, 1100, 24, dtype, w, 0.1)
    grad_out = torch.randn(1, 2, 1100, 24).to(dtype)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(both_passes(*inputs, grad_out))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for a, e in zip(other, results[0], strict=True):
            assert torch.equal(a, e)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_nan_and_infinity_in_v_show_in_their_bag_alone(bad):
    cu_seqlens = torch.tensor([0, 900, 1800])
    q, k, v, w, b = _inputs(1, 1, 1800, 16, torch.float32, 0.0, 0.3)
    v[0, 0, 17, 3] = bad
    out = both_passes(q, k, v, w, b, torch.randn(1, 1, 1800, 16), cu_seqlens=cu_seqlens)[0]
    assert not torch.isfinite(out[0, 0, :900, 3]).any()
    assert torch.isfinite(out[0, 0, 900:]).all()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_inference_and_training_agree(dtype):
    inputs = _inputs(1, 1, 900, 16, dtype, 1e-6, 0.3)
    options = {"prior": "additive", "scale": 0.25}
    inference = forward(*inputs, None, None, training=False, **options)
    training = forward(*inputs, None, None, training=True, **options)
    assert torch.equal(inference[0], training[0])
    assert torch.equal(inference[1], training[1])
