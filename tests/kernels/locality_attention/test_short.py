"""Short bags: a program holds all keys of its queries."""

from __future__ import annotations

import pytest
import torch

import ladnet_fast.functional as LF
from ladnet_fast.kernels.locality_attention import configs, plan
from ladnet_fast.ops import _triton
from ladnet_fast.ops.locality_attention import triton
from tests.ops.locality_attention.budget import assert_results_within_budget

from .tools import both_passes, forward_pass, inputs_of

# The interpreter computes with numpy, which warns where a NaN arises.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

ALL_PRIORS = ("additive", "logit", "none")
BLOCKS = configs.Config(64, 64, 32, 4, 1)
#: Bags of one snippet, of none, as long as tiles of keys or rows, longer and shorter by one.
LENGTHS = (1, 0, 65, 128, 129, 193)
SHORT = "short_208"


def given(inputs, prior):
    return inputs if prior != "none" else [*inputs[:3], None, None]


def check(inputs, prior, kernel, **bags):
    """Compare both passes with float64, and the forward pass without a backward pass to come."""
    grad_out = torch.randn(inputs[0].shape).to(inputs[0].dtype)
    options = {"prior": prior, "kernel": kernel, "config": BLOCKS, **bags}
    found = both_passes(*given(inputs, prior), grad_out, **options)
    assert_results_within_budget(found, inputs, grad_out, prior, **bags)
    if prior == "additive":  # other products than in training
        out, lse, _ = forward_pass(*inputs, **options, training=False)
        assert torch.equal(lse, found[-1])
        assert_results_within_budget((out, *found[1:]), inputs, grad_out, prior, **bags)


@pytest.mark.parametrize("prior", ALL_PRIORS)
@pytest.mark.parametrize("kernel", configs.SHORT)
def test_padded_bags_are_within_budget(kernel, prior):
    T = sum(configs.SHORT[kernel])
    lengths = torch.tensor([T, *(n for n in LENGTHS if n < T)])
    inputs = inputs_of(len(lengths), 1, T, 16, torch.float32, "narrow")
    check(inputs, prior, kernel, lengths=lengths)


@pytest.mark.parametrize("prior", ALL_PRIORS)
def test_packed_bags_and_odd_head_sizes_are_within_budget(prior):
    inputs = inputs_of(1, 1, 130, 17, torch.float16, "off-diagonal")
    check(inputs, prior, SHORT, cu_seqlens=torch.tensor([0, 0, 1, 66, 66, 130]))


@pytest.mark.parametrize("prior", ALL_PRIORS)
def test_a_bag_gives_the_same_bits_in_any_batch_and_padding_is_never_read(prior):
    lengths = torch.tensor([130, 1, 0, 65])
    inputs = inputs_of(4, 1, 133, 16, torch.float32)
    padding = torch.arange(133) >= lengths[:, None]
    inputs[:3] = [x.masked_fill(padding[:, None, :, None], torch.nan) for x in inputs[:3]]
    for training in (True, False):
        options = {"prior": prior, "kernel": SHORT, "config": BLOCKS, "training": training}
        together = forward_pass(*given(inputs, prior), lengths=lengths, **options)
        for x in together:
            assert x is None or not x.transpose(1, 2)[padding].any()
        rows = [x[3:, :, :70] if x.dim() == 4 else x for x in inputs]
        alone = forward_pass(*given(rows, prior), lengths=lengths[3:], **options)
        for a, e in zip(alone, together, strict=True):
            assert a is e is None or torch.equal(a, e[3:, :, :70])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_shows(value, training):
    for place, row, shows in ((0, 70, slice(70, 71)), (1, 5, slice(None)), (2, 140, slice(None))):
        inputs = inputs_of(1, 2, 150, 16, torch.float32)
        # All of one sign, so that no product of an infinity is minus infinity, which is no weight.
        inputs[:2] = [x.abs() for x in inputs[:2]]
        inputs[place][0, 1, row, 3] = value
        out, lse, _ = forward_pass(*inputs, kernel=SHORT, config=BLOCKS, training=training)
        assert out[0, 0].isfinite().all()
        assert not out[0, 1, shows, 3].isfinite().any()
        assert out[0, 1, 0, 2].isfinite() == (place != 1)
        assert place == 2 or not lse[0, 1, shows].isfinite().any()


@pytest.mark.parametrize("shape", [(0, 2, 5, 16), (2, 0, 5, 16), (2, 3, 0, 16)])
def test_nothing_is_launched_for_nothing(shape):
    out, lse, _ = forward_pass(*inputs_of(*shape, torch.float32), kernel=SHORT, config=BLOCKS)
    assert (out.shape, lse.shape) == (shape, shape[:3])


def test_a_bag_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="short_208 takes no T over 208; got 209"):
        forward_pass(*inputs_of(1, 1, 209, 16, torch.float32), kernel=SHORT, config=BLOCKS)


@pytest.mark.parametrize(("T", "name"), [(200, SHORT), (128, "short_128"), (209, "forward")])
def test_the_backend_takes_the_kernel_that_the_table_has_for_a_length(monkeypatch, T, name):
    launched = []
    original = plan.plan_forward
    monkeypatch.setattr(triton, "_architecture", lambda device: 90)
    monkeypatch.setattr(_triton, "shared_bytes", lambda device: 227 * 1024)
    monkeypatch.setattr(
        plan, "plan_forward", lambda *x, **o: launched.append(o["kernel"]) or original(*x, **o)
    )
    qkv = inputs_of(1, 1, T, 64, torch.float16)[:3]
    found = LF.locality_attention(*qkv, prior="none", impl="triton", return_lse=True)
    assert launched == [name]
    config = configs.lookup(name, prior="none", architecture=90, precision="fp16", head_size=64)
    expected = forward_pass(*qkv, None, None, prior="none", config=config, kernel=name)
    for a, e in zip(found, expected[:2], strict=True):
        assert torch.equal(a, e)
