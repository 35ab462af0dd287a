"""Who is wrong is noticed, whatever the budget allows for."""

from __future__ import annotations

import math

import pytest
import torch

import ladnet_fast.functional as LF

from . import budget
from .budget import assert_within, compare

EXACT = {"out": torch.linspace(-1, 2, 30, dtype=torch.float64).reshape(5, 6)}
EPS = torch.finfo(torch.float32).eps


def off_by(amount):
    return {"out": EXACT["out"].float() + amount}


def test_the_budget_is_twice_the_references_error_plus_one_rounding():
    [entry] = compare(off_by(0), EXACT, {"out": EXACT["out"] + 1e-3})
    assert entry.ok
    assert entry.budget == pytest.approx(2 * (1e-3 + EPS * 2))


@pytest.mark.parametrize(("amount", "ok"), [(EPS, True), (1e-5, False), (torch.nan, False)])
def test_an_error_beyond_the_budget_is_noticed_and_so_is_nan(amount, ok):
    [entry] = compare(off_by(amount), EXACT, off_by(0))
    assert entry.ok is ok


@pytest.mark.parametrize("piece", [7, 1000])
def test_a_single_wrong_element_is_noticed_in_any_piece(piece, monkeypatch):
    monkeypatch.setattr(budget, "_PIECE", piece)
    got = off_by(0)
    got["out"][3, 4] = torch.nan
    assert not compare(got, EXACT, off_by(0))[0].ok


def test_a_sum_that_cancels_is_judged_by_what_is_added_up():
    exact = {"dw": torch.tensor(1e-3, dtype=torch.float64)}
    got, reference = {"dw": torch.tensor(1e-3 + 1e-6)}, {"dw": torch.tensor(1e-3)}
    assert not compare(got, exact, reference)[0].ok
    assert compare(got, exact, reference, {"dw": 1e2})[0].ok


@pytest.mark.parametrize(
    "got", [{}, {"other": EXACT["out"]}, {"out": EXACT["out"][:4]}, {**EXACT, "more": EXACT["out"]}]
)
def test_missing_surplus_and_misshapen_outputs_are_refused(got):
    with pytest.raises(ValueError, match="output"):
        compare(got, EXACT, EXACT)


def test_a_size_takes_the_place_of_the_largest_value_wherever_it_is_given():
    [narrow] = compare(off_by(EPS), EXACT, off_by(0), {"out": 0.1})
    [usual] = compare(off_by(EPS), EXACT, off_by(0))
    assert not narrow.ok
    assert usual.ok
    assert budget.at_least_the_values({"out": 0.1}, EXACT) == {"out": 2.0}
    assert budget.at_least_the_values({"out": 9.0}, EXACT) == {"out": 9.0}


def test_a_result_in_float64_may_be_off_by_more_than_one_of_its_roundings():
    exact = EXACT["out"]
    eps = torch.finfo(torch.float64).eps
    for roundings, ok in ((60, True), (80, False)):
        got = {"out": exact + roundings * eps * 2}
        assert compare(got, EXACT, EXACT)[0].ok is ok


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e-3])
def test_an_assertion_names_what_is_wrong(bad):
    got = off_by(0)
    assert_within(got, EXACT, off_by(0))
    got["out"][0, 0] = bad
    with pytest.raises(AssertionError, match=r"out is (not finite|off by 1, allowed)"):
        assert_within(got, EXACT, off_by(0))


# ---- Locality attention --------------------------------------------------------------------------


def attention(T=19, H=2):
    q, k, v, grad = (torch.randn(1, H, T, 4) for _ in range(4))
    w, b = torch.tensor([0.05, 0.1]), torch.tensor([0.1, 0.2])
    return q, k, v, w.requires_grad_(), b.requires_grad_(), grad


@pytest.mark.parametrize("prior", ["additive", "logit"])
def test_terms_of_the_priors_gradient_bound_it(prior, monkeypatch):
    q, k, v, w, b, grad = tensors = attention()
    out = LF.locality_attention(q, k, v, w, b, prior=prior, impl="reference")
    gradients = torch.autograd.grad(out, (w, b), grad)
    options = {"prior": prior, "scale": 0.5, "bags": [(0, 0, 19)]}
    lse, whole = budget.attention_terms(tensors, **options)
    _, exact = LF.locality_attention(
        q, k, v, w, b, prior=prior, scale=0.5, impl="reference", return_lse=True
    )
    assert lse == pytest.approx(float(exact.abs().max()), rel=1e-6)
    monkeypatch.setattr(budget, "_SLICE", 2 * 19 * 4)
    in_blocks = budget.attention_terms(tensors, **options)
    assert in_blocks == (pytest.approx(lse), pytest.approx(whole))
    for name, gradient in zip(("dw", "db"), gradients, strict=True):
        # Rows are added by their squares, 19 of them: that is at least the sum over sqrt(19).
        assert float(gradient.abs().max()) <= whole[name] * 19**0.5


def test_the_prior_none_has_no_gradient_to_scale():
    x = torch.zeros(1, 1, 3, 2)
    w = torch.zeros(1)
    lse, terms = budget.attention_terms(
        (x, x, x, w, w, x), prior="none", scale=1.0, bags=[(0, 0, 3)]
    )
    assert lse == pytest.approx(math.log(3))
    assert terms == {}


@pytest.mark.parametrize("prior", ["additive", "logit", "none"])
def test_bags_add_up_by_their_squares_for_each_head_and_padding_is_not_looked_at(prior):
    tensors = attention()
    options = {"prior": prior, "scale": 0.5}
    parts = [(0, 0, 7), (0, 7, 7), (0, 7, 19)]
    whole = budget.attention_terms(tensors, **options, bags=parts)
    alone = [budget.attention_terms(tensors, **options, bags=[bag]) for bag in parts]
    assert whole[0] == max(lse for lse, _ in alone)
    for name, size in whole[1].items():
        # The head with the largest terms is the same in both bags.
        assert size == pytest.approx(math.hypot(*(terms[name] for _, terms in alone)))
    dirty = tuple(x.detach().clone() for x in tensors)
    for x in (*dirty[:3], dirty[5]):
        x[:, :, 7:] = torch.nan
    assert budget.attention_terms(dirty, **options, bags=parts[:1]) == alone[0]


def test_bags_are_found_by_lengths_offsets_or_the_shape():
    q = torch.zeros(2, 1, 5, 3)
    assert budget.bags_of(q, None, None) == [(0, 0, 5), (1, 0, 5)]
    assert budget.bags_of(q, torch.tensor([4, 0]), None) == [(0, 0, 4), (1, 0, 0)]
    assert budget.bags_of(q[:1], None, torch.tensor([0, 2, 2, 5])) == [
        (0, 0, 2), (0, 2, 2), (0, 2, 5),
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_gradients_of_attention_are_rounded_with_the_output_and_the_logarithmic_sum(dtype):
    truth = {name: torch.full((2,), 3.0).double() for name in ("out", "dq", "dk", "dv")}
    sizes = budget.attention_sizes(truth, 5.0, {"dw": 7.0}, dtype)
    stored = torch.finfo(dtype).eps
    summed = torch.finfo(torch.promote_types(dtype, torch.float32)).eps
    assert sizes["out"] == 3
    assert sizes["dq"] * stored == pytest.approx(3 * (stored + 5 * summed))
    assert sizes["dw"] * summed == pytest.approx(7 * (stored + 5 * summed))
    rounded = budget.attention_sizes(truth, 5.0, {"dw": 7.0}, dtype, operand_eps=0.25)
    assert rounded["out"] * stored == pytest.approx(3 * 0.25)
    assert rounded["dw"] * summed == pytest.approx(7 * (0.25 + 5 * summed))


# ---- The other operators -------------------------------------------------------------------------


def test_the_alignment_is_rounded_with_the_dynamics_of_the_scores():
    truth = {"alignment": torch.tensor(-0.5)}
    scores = torch.tensor([0.0, 1.0, 0.5, 0.3])  # bags of three snippets and of one
    assert budget.ddl_sizes(truth, scores, [3, 1]) == {"alignment": 0.5 + (0.75 + 0) / 2}


def test_sums_of_the_score_head_are_as_large_as_the_root_of_their_squares():
    scores = torch.tensor([[0.5, 0.5, 0.0]])
    grad = torch.tensor([[4.0, -4.0, torch.nan]])
    features = torch.tensor([[[1.0], [-3.0], [torch.nan]]])
    weight, bias = budget.score_head_sizes(scores, grad, features)
    assert bias == pytest.approx(math.sqrt(2))
    assert weight == pytest.approx(3 * bias)


def test_linear_layers_round_eight_times_and_never_less_than_a_millionth():
    truth = {"out": torch.tensor([2.0, -4.0]), "none": torch.zeros(2)}
    sizes = budget.linear_sizes(truth)
    assert sizes["out"] * EPS == pytest.approx(8 * EPS * 4 + 1e-6)
    assert sizes["none"] * EPS == pytest.approx(1e-6)
