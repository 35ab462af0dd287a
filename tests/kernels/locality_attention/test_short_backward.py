"""The backward pass of short bags: one launch, delta and both priors' gradients included."""

from __future__ import annotations

import pytest
import torch

import ladnet_fast.functional as LF
from ladnet_fast.kernels.locality_attention import configs, plan
from ladnet_fast.ops import _triton
from ladnet_fast.ops.locality_attention import triton
from tests.ops.locality_attention.budget import assert_results_within_budget

from .tools import both_passes, inputs_of

# The interpreter computes with numpy, which warns where a NaN arises.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

ALL_PRIORS = ("additive", "logit", "none")
SHORT = configs.SHORT_BACKWARD
#: Queries a turn, rows owned, keys a turn of dQ: every order of sizes.
BLOCKS = {
    "equal": configs.Config(32, 32, 16, 4, 1, queries_n=32),
    "more owned": configs.Config(16, 64, 16, 4, 1, queries_n=32),
    "fewer owned": configs.Config(64, 16, 16, 4, 1, queries_n=32),
    "fewer keys": configs.Config(32, 32, 16, 4, 1, queries_n=16),
}


def backward_of(inputs, prior, blocks="more owned", grad_out=None, **options):
    given = inputs if prior != "none" else [*inputs[:3], None, None]
    grad_out = torch.randn(inputs[0].shape).to(inputs[0].dtype) if grad_out is None else grad_out
    return grad_out, both_passes(
        *given, grad_out, prior=prior, config=BLOCKS[blocks], backward=SHORT, **options
    )


def check(inputs, prior, blocks="more owned", **bags):
    grad_out, found = backward_of(inputs, prior, blocks, **bags)
    assert_results_within_budget(found, inputs, grad_out, prior, **bags)


@pytest.mark.parametrize("prior", ALL_PRIORS)
@pytest.mark.parametrize("blocks", BLOCKS)
def test_padded_bags_are_within_budget(blocks, prior):
    # One snippet, none, as long as a tile, longer and shorter by one.
    lengths = torch.tensor([97, 1, 0, 64, 65, 31])
    check(inputs_of(6, 1, 97, 16, torch.float32, "narrow"), prior, blocks, lengths=lengths)


@pytest.mark.parametrize("prior_name", ["authors", "off-diagonal", "constant", "dead"])
@pytest.mark.parametrize("prior", ["additive", "logit"])
def test_any_band_is_within_budget(prior, prior_name):
    check(inputs_of(2, 2, 75, 16, torch.float32, prior_name), prior)


@pytest.mark.parametrize("prior", ALL_PRIORS)
def test_packed_bags_and_odd_head_sizes_are_within_budget(prior):
    cu_seqlens = torch.tensor([0, 0, 1, 66, 66, 130])
    check(inputs_of(1, 1, 130, 17, torch.float16, "narrow"), prior, cu_seqlens=cu_seqlens)


@pytest.mark.parametrize("prior", ALL_PRIORS)
def test_a_bag_may_be_longer_than_what_the_kernel_is_meant_for(prior):
    check(inputs_of(1, 1, configs.SHORT_BACKWARD_SNIPPETS + 51, 16, torch.float32), prior)


@pytest.mark.parametrize("prior", ALL_PRIORS)
def test_a_negative_scale_is_that_of_negative_queries(prior):
    q, *others = inputs_of(1, 2, 40, 16, torch.float32)
    grad_out, (_, dq, dk, *rest) = backward_of([q, *others], prior, scale=-0.3)
    _, expected = backward_of([-q, *others], prior, grad_out=grad_out, scale=0.3)
    assert torch.equal(dq, -expected[1])
    for a, e in zip((dk, *rest), expected[2:], strict=True):
        assert a is e is None or torch.equal(a, e)


@pytest.mark.parametrize("prior", ALL_PRIORS)
def test_one_snippet_has_gradients_of_exactly_0_where_the_softmax_is_constant(prior):
    inputs = inputs_of(2, 2, 1, 16, torch.float32)
    _, (_, dq, dk, dv, dw, db, _) = backward_of(inputs, prior)
    assert not dq.any()
    assert not dk.any()
    assert dv.all()
    if prior == "logit":
        assert not dw.any()
        assert not db.any()
    if prior == "additive":
        assert db.any()  # G_00 = exp(-|b|) depends on b


@pytest.mark.parametrize("prior", ALL_PRIORS)
def test_a_bag_gives_the_same_bits_in_any_batch_and_padding_is_never_read(prior):
    lengths = torch.tensor([90, 1, 0, 65])
    inputs = inputs_of(4, 1, 93, 16, torch.float32)
    padding = torch.arange(93) >= lengths[:, None]
    inputs[:3] = [x.masked_fill(padding[:, None, :, None], torch.nan) for x in inputs[:3]]
    grad_out = torch.randn(inputs[0].shape).masked_fill(padding[:, None, :, None], torch.nan)
    _, (_, *together, dw, db, _) = backward_of(inputs, prior, grad_out=grad_out, lengths=lengths)
    for x in together:
        assert x.isfinite().all()
        assert not x.transpose(1, 2)[padding].any()
    assert dw is db is None or (dw.isfinite().all() and db.isfinite().all())
    rows = [x[3:, :, :70] if x.dim() == 4 else x for x in inputs]
    _, (_, *alone, _, _, _) = backward_of(
        rows, prior, grad_out=grad_out[3:, :, :70], lengths=lengths[3:]
    )
    for a, e in zip(alone, together, strict=True):
        assert torch.equal(a, e[3:, :, :70])


@pytest.mark.parametrize("prior", ["additive", "logit"])
def test_gradients_of_a_frozen_prior_are_left_out_and_change_no_other(prior):
    inputs = inputs_of(2, 2, 50, 16, torch.float32)
    grad_out, wanted = backward_of(inputs, prior)
    _, frozen = backward_of(inputs, prior, grad_out=grad_out, need_prior_grad=False)
    assert frozen[4] is frozen[5] is None
    for a, e in zip(frozen[:4], wanted[:4], strict=True):
        assert torch.equal(a, e)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("prior", ALL_PRIORS)
def test_what_is_not_finite_shows_in_its_head_alone(prior, value):
    for place in range(3):
        inputs = inputs_of(1, 2, 70, 16, torch.float32)
        inputs[:2] = [x.abs() for x in inputs[:2]]
        inputs[place][0, 1, 40, 3] = value
        _, (_, dq, dk, dv, dw, db, _) = backward_of(inputs, prior)
        for x in (dq, dk, dv):
            assert x[0, 0].isfinite().all()
        assert not (dq if place else dk)[0, 1].isfinite().all()
        if prior != "none":
            assert dw[0].isfinite()
            assert db[0].isfinite()


@pytest.mark.parametrize("shape", [(0, 2, 5, 16), (2, 0, 5, 16), (2, 3, 0, 16)])
def test_nothing_is_launched_for_nothing(shape):
    _, (_, dq, dk, dv, dw, db, _) = backward_of(inputs_of(*shape, torch.float32), "additive")
    assert dq.shape == dk.shape == dv.shape == shape
    assert not dw.any()
    assert not db.any()


@pytest.mark.parametrize(
    ("T", "bags", "chosen"),
    [(256, 1, SHORT), (257, 1, "backward"), (512, 2, SHORT), (513, 2, "backward")],
)
def test_the_backend_takes_the_kernel_that_the_table_has_for_a_length(monkeypatch, T, bags, chosen):
    launched = []
    original = plan.plan_backward
    monkeypatch.setattr(triton, "_architecture", lambda device: 90)
    monkeypatch.setattr(_triton, "shared_bytes", lambda device: 227 * 1024)
    monkeypatch.setattr(
        plan, "plan_backward", lambda *x, **o: launched.append(o["kernel"]) or original(*x, **o)
    )
    qkv = [x.requires_grad_() for x in inputs_of(1, 1, T, 64, torch.float16)[:3]]
    lengths = {"cu_seqlens": torch.tensor([0, 150, T])} if bags == 2 else {}
    out = LF.locality_attention(*qkv, prior="none", impl="triton", **lengths)
    grad_out = torch.randn_like(out)
    found = torch.autograd.grad(out, qkv, grad_out)
    assert launched == [chosen]
    inputs = [*(x.detach() for x in qkv), torch.zeros(1), torch.zeros(1)]
    results = (out.detach(), *found, None, None)
    assert_results_within_budget(results, inputs, grad_out, "none", **lengths)
