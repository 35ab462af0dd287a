"""The alignment as a correlation: its formula, layouts, gradients and compiled graphs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ladnet_fast.functional as LF
from ladnet_fast import DDLLoss
from ladnet_fast.ops.ddl_loss.correlation import correlation_loss

from .cases import offsets, pad, random_bags
from .test_schema import IMPLS

LENGTHS = [20, 1, 7, 2, 18, 3]


def packed(dtype=torch.float64):
    scores, features, labels = random_bags(LENGTHS, 6, dtype)
    return scores.requires_grad_(), features.requires_grad_(), labels, offsets(LENGTHS)


def test_it_is_one_minus_numpys_correlation_averaged_over_the_bags():
    scores, features, labels, cu_seqlens = packed()
    value = LF.ddl_loss(
        scores, features, labels, cu_seqlens=cu_seqlens, alignment_form="correlation"
    ).alignment
    expected = []
    for s, x in zip(scores.split(LENGTHS), features.split(LENGTHS), strict=True):
        ds = s.detach().diff().abs().numpy()
        df = 1 - torch.cosine_similarity(x[:-1], x[1:], dim=-1).detach().numpy()
        enough = len(ds) > 1
        expected.append(1 - np.corrcoef(ds, df.clip(0, 1))[0, 1] if enough else 1.0)
    # What keeps the root finite weighs 1e-16 against products of two sums of squares.
    assert value.item() == pytest.approx(np.mean(expected), abs=1e-7)


@pytest.mark.parametrize("impl", IMPLS)
def test_only_the_alignment_and_the_total_change(impl):
    scores, features, labels, cu_seqlens = packed(torch.float32)
    options = {"cu_seqlens": cu_seqlens, "impl": impl, "alignment_weight": 0.3}
    plain = LF.ddl_loss(scores, features, labels, **options)
    found = LF.ddl_loss(scores, features, labels, **options, alignment_form="correlation")
    assert (found.mil, found.ranking) == (plain.mil, plain.ranking)
    torch.testing.assert_close(found.total, found.mil + 0.1 * found.ranking + 0.3 * found.alignment)


def test_padded_is_packed_and_padding_is_never_read():
    scores, features, labels, cu_seqlens = packed()
    args = {"alignment_form": "correlation", "alignment_weight": 2.0}
    one = LF.ddl_loss(scores, features, labels, cu_seqlens=cu_seqlens, **args)
    by_row = torch.autograd.grad(one.total, [scores, features])
    leaves = [pad(x.detach(), LENGTHS, torch.nan).requires_grad_() for x in (scores, features)]
    two = LF.ddl_loss(*leaves, labels, lengths=torch.tensor(LENGTHS), **args)
    torch.testing.assert_close(two.total, one.total)
    for padded, rows in zip(torch.autograd.grad(two.total, leaves), by_row, strict=True):
        for n, part in enumerate(rows.split(LENGTHS)):
            torch.testing.assert_close(padded[n, : len(part)], part)
            assert not padded[n, len(part) :].any()


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_gradients_are_those_of_the_formula_to_the_second_order(layout):
    scores, features, _, cu_seqlens = packed()
    lengths = None
    if layout == "padded":
        scores, features = (
            pad(x.detach(), LENGTHS, 0.5).requires_grad_() for x in (scores, features)
        )
        lengths, cu_seqlens = torch.tensor(LENGTHS), None

    def loss(s, x):
        return correlation_loss(s, x, lengths, cu_seqlens, "none")

    assert torch.autograd.gradcheck(loss, (scores, features))
    assert torch.autograd.gradgradcheck(loss, (scores, features))


@pytest.mark.parametrize(("detach", "silent"), [("score", 0), ("feature", 1)])
def test_detach_stops_the_gradient_of_one_factor(detach, silent):
    scores, features, _, cu_seqlens = packed()
    value = correlation_loss(scores, features, None, cu_seqlens, detach)
    gradients = torch.autograd.grad(value, [scores, features], materialize_grads=True)
    assert not gradients[silent].any()
    assert gradients[1 - silent].any()


@pytest.mark.parametrize("lengths", [[1], [2], [1, 1, 2], [5]])
def test_dynamics_that_do_not_vary_have_no_correlation_and_finite_gradients(lengths):
    total = sum(lengths)
    scores = torch.full((total,), 0.25, requires_grad=True)
    features = torch.ones(total, 4, requires_grad=True)
    value = correlation_loss(scores, features, None, offsets(lengths), "none")
    assert value == 1
    gradients = torch.autograd.grad(value, [scores, features], materialize_grads=True)
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_a_value_that_is_not_finite_is_reported():
    for position in (0, 1):
        leaves = [x.detach().clone() for x in packed(torch.float32)[:2]]
        leaves[position][3] = torch.nan
        assert correlation_loss(*leaves, None, offsets(LENGTHS), "none").isnan()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_features_give_what_their_values_give_in_float32(dtype):
    scores, features, labels, cu_seqlens = packed(torch.float32)
    half = features.detach().to(dtype)
    values = [
        LF.ddl_loss(scores, x, labels, cu_seqlens=cu_seqlens, alignment_form="correlation")
        for x in (half, half.float())
    ]
    assert values[0].alignment == values[1].alignment
    with torch.autocast("cpu", torch.bfloat16):
        again = LF.ddl_loss(
            scores, half, labels, cu_seqlens=cu_seqlens, alignment_form="correlation"
        )
    assert again.alignment == values[0].alignment


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_it_compiles_as_one_graph(layout):
    scores, features, labels, cu_seqlens = packed(torch.float32)
    criterion = DDLLoss(alignment_form="correlation", alignment_weight=0.3)
    arguments = {"cu_seqlens": cu_seqlens}
    if layout == "padded":
        scores, features = (
            pad(x.detach(), LENGTHS, 0.5).requires_grad_() for x in (scores, features)
        )
        arguments = {"lengths": torch.tensor(LENGTHS)}
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    expected, found = (
        f(scores, features, labels, **arguments).total for f in (criterion, compiled)
    )
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, features)[0], torch.autograd.grad(expected, features)[0]
    )


def test_another_form_is_refused():
    scores, features, labels, cu_seqlens = packed()
    with pytest.raises(ValueError, match="alignment_form must be"):
        LF.ddl_loss(scores, features, labels, cu_seqlens=cu_seqlens, alignment_form="cosine")
    with pytest.raises(ValueError, match="alignment_form must be"):
        DDLLoss(alignment_form=None)
    assert "alignment_form='product'" in repr(DDLLoss())
