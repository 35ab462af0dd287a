"""The reference against loops that spell the definitions out, one bag at a time."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.autograd import gradcheck

import ladnet_fast.functional as LF

from .cases import OPTIONS, offsets, pad, random_bags

LENGTHS = [40, 1, 17, 2, 16, 33]


def top(values, k):
    return sorted(values, reverse=True)[:k]


def by_definition(scores, features, labels, lengths, options):
    """The three terms with Python floats and loops."""
    mil, energies, alignment = [], [], []
    bags = zip(scores.split(lengths), features.split(lengths), labels.tolist(), strict=True)
    for s, x, label in bags:
        t, s = len(s), s.tolist()
        k = min(t // options["topk_divisor"] + 1, t)
        p = sum(top(s, k)) / k if label else max(s)
        mil.append(-math.log(p) if label else -math.log(1 - p))
        ds = [abs(a - b) for a, b in itertools.pairwise(s)]
        k = t - 1 if options["select"] == "all" else min(t // options["topk_divisor"] + 1, t - 1)
        energies.append(sum(top([d * d for d in ds], k)) / k if k else 0.0)
        df = [
            min(max(1 - float(torch.cosine_similarity(a, b, dim=0)), 0), 1)
            for a, b in itertools.pairwise(x)
        ]
        steps = [-d * math.log(f + options["eps"]) for d, f in zip(ds, df, strict=True)]
        alignment.append(sum(steps) / (t - 1) if t > 1 else 0.0)
    positive = [e for e, y in zip(energies, labels, strict=True) if y]
    negative = [e for e, y in zip(energies, labels, strict=True) if not y]
    hinge = lambda a, n: max(0.0, options["margin"] - a + n)  # noqa: E731
    if not positive or not negative:
        ranking = 0.0
    elif options["pairing"] == "batch_mean":
        ranking = hinge(sum(positive) / len(positive), sum(negative) / len(negative))
    elif options["pairing"] == "all_pairs":
        ranking = sum(hinge(a, n) for a in positive for n in negative)
        ranking /= len(positive) * len(negative)
    else:
        pairs = list(zip(positive, negative, strict=False))
        ranking = sum(hinge(a, n) for a, n in pairs) / len(pairs)
    return [sum(mil) / len(mil), ranking, sum(alignment) / len(alignment)]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(map(str, o.values())))
def test_reference_is_the_definition(options):
    scores, features, labels = random_bags(LENGTHS, 5)
    terms = LF.ddl_loss(
        scores, features, labels, cu_seqlens=offsets(LENGTHS), impl="reference", **options
    )
    want = by_definition(scores, features, labels, LENGTHS, options)
    torch.testing.assert_close(torch.stack(terms[1:]), torch.tensor(want, dtype=torch.float64))
    torch.testing.assert_close(terms.total, terms.mil + 0.1 * terms.ranking + terms.alignment)


@pytest.mark.parametrize("pairing", ["batch_mean", "all_pairs", "one_to_one"])
@pytest.mark.parametrize("present", [True, False])
def test_without_one_class_the_ranking_is_zero_and_still_attached(pairing, present):
    scores, features, _ = random_bags([4, 5], 3)
    scores.requires_grad_()
    labels = torch.tensor([present, present])
    terms = LF.ddl_loss(scores, features, labels, cu_seqlens=offsets([4, 5]), pairing=pairing)
    assert terms.ranking == 0
    terms.ranking.backward()
    assert (scores.grad == 0).all()


@pytest.mark.parametrize("options", OPTIONS[::5], ids=lambda o: "-".join(map(str, o.values())))
def test_gradients_are_right_in_float64(options):
    lengths = [9, 1, 5, 4]
    scores, features, labels = random_bags(lengths, 3)
    scores = (0.2 + 0.6 * scores).requires_grad_()
    features.requires_grad_()
    options = options | {"margin": 0.7, "detach": "none", "topk_divisor": 3}

    def loss(scores, features):
        return LF.ddl_loss(
            scores, features, labels, cu_seqlens=offsets(lengths), impl="reference", **options
        )

    assert gradcheck(loss, (scores, features))


def test_detach_stops_the_gradient_of_one_factor_only():
    scores, features, labels = random_bags([6, 7], 3)
    grads = {}
    for detach in ("none", "score", "feature"):
        s, x = scores.clone().requires_grad_(), features.clone().requires_grad_()
        terms = LF.ddl_loss(s, x, labels, cu_seqlens=offsets([6, 7]), detach=detach)
        terms.alignment.backward()
        grads[detach] = [torch.zeros_like(a) if a.grad is None else a.grad for a in (s, x)]
    assert (grads["score"][0] == 0).all()
    assert (grads["feature"][1] == 0).all()
    torch.testing.assert_close(grads["score"][1], grads["none"][1])
    torch.testing.assert_close(grads["feature"][0], grads["none"][0])


def test_padding_is_never_read_and_receives_no_gradient():
    scores, features, labels = random_bags(LENGTHS, 5)
    leaves = [scores.clone().requires_grad_(), features.clone().requires_grad_()]
    want = LF.ddl_loss(*leaves, labels, cu_seqlens=offsets(LENGTHS), impl="reference")
    want.total.backward()
    padded = [pad(x, LENGTHS, torch.nan).requires_grad_() for x in (scores, features)]
    got = LF.ddl_loss(*padded, labels, lengths=torch.tensor(LENGTHS), impl="reference")
    torch.testing.assert_close(torch.stack(got), torch.stack(want))
    got.total.backward()
    for leaf, pads in zip(leaves, padded, strict=True):
        torch.testing.assert_close(pads.grad, pad(leaf.grad, LENGTHS, 0.0))


def test_among_equal_values_the_lowest_index_receives_the_gradient():
    scores = torch.tensor([[0.5, 0.9, 0.9, 0.1], [0.3, 0.7, 0.2, 0.7]], requires_grad=True)
    terms = LF.ddl_loss(scores, torch.randn(2, 4, 3), torch.tensor([1, 0]), impl="reference")
    terms.mil.backward()
    assert scores.grad.nonzero().tolist() == [[0, 1], [1, 1]]
    scores = torch.tensor([[0.1, 0.5, 0.1, 0.5, 0.5]], dtype=torch.float64, requires_grad=True)
    both = torch.cat([scores, torch.full_like(scores, 0.2)])
    terms = LF.ddl_loss(both, torch.randn(2, 5, 3).double(), torch.tensor([1, 0]), margin=1.0)
    (grad,) = torch.autograd.grad(terms.ranking, scores)
    assert grad.nonzero().tolist() == [[0, 0], [0, 1]]


@pytest.mark.parametrize("p", [0.0, 1.0])
@pytest.mark.parametrize("label", [0, 1])
def test_certain_scores_cost_what_torch_says(p, label):
    scores = torch.full((1, 1), p, requires_grad=True)
    LF.ddl_loss(scores, torch.randn(1, 1, 3), torch.tensor([label])).mil.backward()
    again = torch.full((1, 1), p, requires_grad=True)
    torch.nn.functional.binary_cross_entropy(again, torch.full((1, 1), float(label))).backward()
    torch.testing.assert_close(scores.grad, again.grad)


def test_a_nan_score_or_feature_is_not_swallowed():
    for where in ("scores", "features"):
        inputs = dict(zip(("scores", "features"), random_bags([6, 7], 3)[:2], strict=True))
        inputs[where][2] = torch.nan
        terms = LF.ddl_loss(**inputs, labels=torch.tensor([1, 0]), cu_seqlens=offsets([6, 7]))
        assert terms.total.isnan()


def test_a_score_that_is_no_probability_gives_nan():
    scores = torch.tensor([[1.5, 0.2], [0.2, 0.2]])
    assert LF.ddl_loss(scores, torch.randn(2, 2, 3), torch.tensor([1, 0])).mil.isnan()


def test_near_identical_rows_keep_their_digits():
    row = torch.randn(64)
    features = torch.stack([row, row * (1 + 1e-4 * torch.randn(64))])[None]
    scores = torch.tensor([[0.2, 0.9]])
    got = LF.ddl_loss(scores, features, torch.tensor([1]), eps=1e-12)
    want = LF.ddl_loss(scores.double(), features.double(), torch.tensor([1]), eps=1e-12)
    torch.testing.assert_close(got.alignment.double(), want.alignment, rtol=1e-4, atol=0)


@pytest.mark.parametrize("size", [1e-18, 1.0, 1e18])
def test_the_size_of_a_feature_row_does_not_matter(size):
    scores, features, labels = random_bags([6, 7], 16, torch.float32)
    leaf = (features * size).requires_grad_()
    terms = LF.ddl_loss(scores, leaf, labels, cu_seqlens=offsets([6, 7]))
    plain = features.clone().requires_grad_()
    want = LF.ddl_loss(scores, plain, labels, cu_seqlens=offsets([6, 7]))
    torch.testing.assert_close(terms.alignment, want.alignment)
    terms.alignment.backward()
    want.alignment.backward()
    torch.testing.assert_close(leaf.grad * size, plain.grad)


def test_zero_and_opposite_rows_have_full_dynamics_and_no_gradient():
    features = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 2.0]]], requires_grad=True)
    scores = torch.tensor([[0.1, 0.3, 0.6, 1.0]])
    terms = LF.ddl_loss(scores, features, torch.tensor([1]), eps=1.0)
    torch.testing.assert_close(terms.alignment, torch.tensor(-0.9 / 3 * math.log(2.0)))
    terms.alignment.backward()
    assert (features.grad == 0).all()
