"""The Triton kernels against the float64 oracle: lengths, head sizes, blocks, priors, bags."""

from __future__ import annotations

import pytest
import torch

from tests.ops.locality_attention.cases import PRIORS, oracle, random_qkv

from .tools import BLOCKS, LARGE, both_passes, check, check_inputs, inputs_of

# The interpreter computes with numpy, which warns where an extreme prior overflows on the way.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

# bf16 is left to the tests that execute compiled kernels: the interpreter's product of it is wrong.
DTYPES = (torch.float32, torch.float16)
ALL_PRIORS = ("additive", "logit", "none")


@pytest.mark.parametrize("prior", ALL_PRIORS)
@pytest.mark.parametrize("T", [1, 2, 31, 32, 33, 63, 64, 65, 127, 129])
def test_every_length_is_within_budget(T, prior):
    check(1, 1, T, 16, torch.float32, prior)


@pytest.mark.parametrize("prior", ALL_PRIORS)
@pytest.mark.parametrize("T", [500, 1025])
def test_long_bags_are_within_budget(T, prior):
    check(1, 1, T, 16, torch.float32, prior, "narrow", config=LARGE)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("d", [1, 16, 17, 24, 40, 64, 80, 128, 160, 256])
def test_every_head_size_is_within_budget(d, dtype):
    check(1, 2, 40, d, dtype, "additive" if d % 3 else "logit")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("prior", ALL_PRIORS)
@pytest.mark.parametrize("blocks", BLOCKS)
def test_all_blocks_are_within_budget(blocks, prior, dtype):
    # Bags as long as no block, one block, and blocks with a tail.
    lengths = torch.tensor([97, 64, 13])
    check(3, 1, 97, 32, dtype, prior, "narrow", BLOCKS[blocks], lengths=lengths)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("prior", ["additive", "logit"])
@pytest.mark.parametrize("name", PRIORS)
def test_every_prior_is_within_budget(name, prior, dtype):
    check(1, 2, 100, 16, dtype, prior, name)


#: (w, b): constant, tiny, huge, dead, growing before they die, rings far from the diagonal.
EXTREMES = [
    (0.0, 0.0), (0.0, -10.0), (1e-12, 0.0), (1e-38, 0.1), (1e30, 0.0), (-0.3, 1.0), (-0.003, 20.0),
    (0.1, -60.0), (0.1, -500.0), (-0.1, 500.0), (-1e-7, 30.0), (7e-6, 0.0),
]  # fmt: skip


@pytest.mark.parametrize("prior", ["additive", "logit"])
@pytest.mark.parametrize(("w", "b"), EXTREMES)
def test_a_prior_of_any_sign_and_size_is_within_budget(w, b, prior):
    inputs = random_qkv(1, 1, 110, 16, torch.float32)
    inputs += [torch.tensor([x], dtype=torch.float32) for x in (w, b)]
    check_inputs(inputs, prior)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("prior", ALL_PRIORS)
def test_ragged_bags_are_within_budget(prior, dtype):
    check(5, 2, 65, 20, dtype, prior, lengths=torch.tensor([65, 0, 1, 40, 2]))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("prior", ALL_PRIORS)
@pytest.mark.parametrize(
    "offsets", [[0, 0, 1, 33, 33, 97, 99], [0, 70, 70, 70], [0, 32, 64, 96], [0, *range(30, 46)]]
)
def test_packed_bags_are_within_budget(offsets, prior, dtype):
    cu_seqlens = torch.tensor(offsets)
    check(1, 2, offsets[-1], 16, dtype, prior, cu_seqlens=cu_seqlens)


@pytest.mark.parametrize("prior", ALL_PRIORS)
@pytest.mark.parametrize("scale", [0.0, 3.0, -8.0])
def test_any_scale_serves(scale, prior):
    inputs = inputs_of(1, 2, 50, 16, torch.float32)
    grad_out = torch.randn(1, 2, 50, 16)
    w_b = inputs[3:] if prior != "none" else [None, None]
    got = both_passes(*inputs[:3], *w_b, grad_out, prior=prior, scale=scale)
    want = oracle(*inputs, grad_out, prior=prior, scale=scale)
    for a, e in zip(got, want, strict=False):
        if a is not None:
            # Sums of 50 terms in fp32 stay under 50 roundings of the largest. Logits are about 10
            # scales large, and their rounding is an error of the exponent.
            bound = 50 * (1 + 10 * abs(scale)) * torch.finfo(torch.float32).eps
            assert (a - e).abs().max() <= bound * e.abs().max()
