"""Split keys: several programs share the keys of a row tile, and their parts are joined."""

from __future__ import annotations

import pytest
import torch

import ladnet_fast.functional as LF
from ladnet_fast.kernels.locality_attention import plan
from ladnet_fast.ops.locality_attention import triton
from ladnet_fast.ops.locality_attention.layout import empty_lse, empty_output
from tests.ops.locality_attention.budget import assert_results_within_budget

from .tools import BLOCKS, check, forward_pass, inputs_of

# The interpreter computes with numpy, which warns where a NaN arises.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

ALL_PRIORS = ("additive", "logit", "none")
#: Bags with fewer tiles of keys than splits, of one snippet, of none; full and ragged last tiles.
PADDED = {"lengths": torch.tensor([97, 0, 1, 64])}
PACKED = {"cu_seqlens": torch.tensor([0, 0, 1, 34, 34, 131])}


@pytest.mark.parametrize("prior", ALL_PRIORS)
@pytest.mark.parametrize(("splits", "blocks"), [(2, "more keys"), (3, "more queries")])
def test_padded_bags_are_within_budget(splits, blocks, prior):
    check(4, 1, 97, 20, torch.float32, prior, "narrow", BLOCKS[blocks], splits=splits, **PADDED)


@pytest.mark.parametrize("prior", ALL_PRIORS)
@pytest.mark.parametrize(("splits", "name"), [(2, "off-diagonal"), (9, "constant")])
def test_packed_bags_are_within_budget(splits, name, prior):
    check(1, 2, 131, 16, torch.float16, prior, name, splits=splits, **PACKED)


@pytest.mark.parametrize("prior", ALL_PRIORS)
@pytest.mark.parametrize("splits", [2, 9])
def test_a_second_run_gives_the_same_bits_and_padding_is_never_read(splits, prior):
    inputs = inputs_of(4, 1, 97, 16, torch.float32)
    expected = forward_pass(*inputs, prior=prior, splits=splits, **PADDED)
    padding = torch.arange(97) >= PADDED["lengths"][:, None]
    inputs[:3] = [x.masked_fill(padding[:, None, :, None], torch.nan) for x in inputs[:3]]
    got = forward_pass(*inputs, prior=prior, splits=splits, **PADDED)
    for a, e in zip(got, expected, strict=True):
        assert a is e is None or torch.equal(a, e)
    for x in got:
        if x is not None and x.dim() == 4:
            assert (x[:, 0][padding] == 0).all()


def test_a_bag_within_one_split_gives_the_bits_that_it_gives_without_splits():
    # A part alone is scaled by 2^0, and its band is added to the same sum.
    inputs = inputs_of(1, 2, 32, 16, torch.float32)
    for prior in ("logit", "none"):
        whole, split = (forward_pass(*inputs, prior=prior, splits=n) for n in (1, 5))
        assert torch.equal(whole[0], split[0])
        assert torch.equal(whole[1], split[1])


@pytest.mark.parametrize("prior", ALL_PRIORS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_shows(value, prior):
    for place, row, shows in ((0, 70, slice(70, 71)), (1, 5, slice(None)), (2, 90, slice(None))):
        inputs = inputs_of(1, 1, 97, 16, torch.float32)
        # All of one sign, so that no product of an infinity is minus infinity, which is no weight.
        inputs[:2] = [x.abs() for x in inputs[:2]]
        inputs[place][0, 0, row, 3] = value
        out, lse, _ = forward_pass(*inputs, prior=prior, splits=3)
        assert not out[0, 0, shows, 3].isfinite().any()
        assert out[0, 0, 0, 2].isfinite() == (place != 1)
        assert place == 2 or not lse[0, 0, shows].isfinite().any()


@pytest.mark.parametrize("shape", [(0, 2, 5, 16), (2, 0, 5, 16), (2, 3, 0, 16)])
def test_nothing_is_launched_for_nothing(shape):
    out, lse, _ = forward_pass(*inputs_of(*shape, torch.float32), prior="additive", splits=2)
    assert (out.shape, lse.shape) == (shape, shape[:3])


@pytest.mark.parametrize("prior", ALL_PRIORS)
def test_the_backend_splits_keys_where_the_gpu_has_room(monkeypatch, prior):
    planned = []
    monkeypatch.setattr(triton, "_multiprocessors", lambda device: 132)
    monkeypatch.setattr(
        plan, "choose_splits", lambda *sizes, **gpu: planned.append((sizes, gpu)) or 3
    )
    inputs = [x.requires_grad_() for x in inputs_of(1, 1, 100, 16, torch.float32)]
    out, lse = LF.locality_attention(*inputs, prior=prior, impl="triton", return_lse=True)
    assert planned == [((4, 4), {"multiprocessors": 132})]
    grad_out = torch.randn_like(out)
    grads = torch.autograd.grad(out, inputs, grad_out, allow_unused=True)
    inputs = [x.detach() for x in inputs]
    assert_results_within_budget((out.detach(), *grads, lse), inputs, grad_out, prior)


def test_without_a_reason_to_split_nothing_changes():
    inputs = inputs_of(1, 1, 100, 16, torch.float32)
    filled = (empty_output(inputs[0]), empty_lse(inputs[0]), None)
    launches = plan.plan_forward(
        *inputs, None, None, *filled, prior="additive", scale=1.0, precision="ieee",
        choose=lambda kernel, kind: BLOCKS["more keys"], multiprocessors=1,
    )  # fmt: skip
    assert list(launches) == ["forward"]
    assert launches["forward"].arguments["parts"] is None
