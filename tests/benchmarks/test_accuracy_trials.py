"""Losses that only the accuracy benchmark has, against their formulas."""

import numpy as np
import pytest
import torch

from benchmarks.accuracy import trials
from benchmarks.accuracy.grid import TrialConfig
from ladnet_fast import DDLLoss
from ladnet_fast.functional import ddl_loss

LABELS = torch.tensor([1, 0, 1])


def random_bags(seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(3, 9, generator=generator)
    features = torch.randn(3, 9, 5, generator=generator)
    lengths = torch.tensor([9, 5, 1])
    scores[1, 5:] = scores[2, 1:] = 0
    return scores.requires_grad_(), features.requires_grad_(), lengths


def dynamics(scores, features, lengths):
    for s, x, n in zip(scores.detach(), features.detach(), lengths.tolist(), strict=True):
        cosine = torch.nn.functional.cosine_similarity(x[: n - 1], x[1:n], dim=-1)
        yield s[:n].diff().abs().numpy(), (1 - cosine).clamp(max=1).numpy()


def test_trial_terms_are_their_formulas():
    scores, features, lengths = random_bags()
    pairs = list(dynamics(scores, features, lengths))[:2]  # the third bag has no pair
    push = sum(-np.log(df + 1e-6).mean() for _, df in pairs) / 3
    correlation = (sum(1 - np.corrcoef(ds, df)[0, 1] for ds, df in pairs) + 1) / 3
    entropy = 0.0
    for ds, df in pairs:
        p, q = (ds + 1e-6) / (ds + 1e-6).sum(), (df + 1e-6) / (df + 1e-6).sum()
        entropy -= (p * np.log(q)).sum() / 3
    for name, expected in (
        ("push_weight", push),
        ("correlation_weight", correlation),
        ("crossentropy_weight", entropy),
    ):
        trial = TrialConfig(**{name: 2.0})
        value = trials.trial_terms(scores, features, LABELS, lengths, trial)
        assert value.item() == pytest.approx(2 * expected, rel=1e-4), name
    assert trials.trial_terms(scores, features, LABELS, lengths, TrialConfig()) is None


def test_the_correlation_on_trial_is_the_one_of_the_package():
    scores, features, lengths = random_bags()
    trial = trials.trial_terms(
        scores, features, LABELS, lengths, TrialConfig(correlation_weight=1.0)
    )
    terms = DDLLoss(alignment_form="correlation")(scores, features, LABELS, lengths)
    torch.testing.assert_close(trial, terms.alignment)


@pytest.mark.parametrize("name", ["correlation_weight", "crossentropy_weight"])
@pytest.mark.parametrize(("detach", "silent"), [("none", ()), ("score", (0,)), ("feature", (1,))])
def test_detach_stops_the_gradient_of_one_factor(name, detach, silent):
    scores, features, lengths = random_bags()
    value = trials.trial_terms(
        scores, features, LABELS, lengths, TrialConfig(**{name: 1.0}, detach=detach)
    )
    gradients = torch.autograd.grad(value, [scores, features], allow_unused=True)
    for position, gradient in enumerate(gradients):
        if position in silent:
            assert gradient is None or not gradient.any()
        else:
            assert gradient.isfinite().all()
            assert gradient.any()


@pytest.mark.parametrize("name", ["push_weight", "correlation_weight", "crossentropy_weight"])
def test_bags_whose_dynamics_are_all_alike_give_finite_gradients(name):
    scores = torch.full((2, 6), 0.5, requires_grad=True)
    features = torch.ones(2, 6, 4, requires_grad=True)
    value = trials.trial_terms(
        scores, features, LABELS[:2], torch.tensor([6, 2]), TrialConfig(**{name: 1.0})
    )
    value.backward()
    assert value.isfinite()
    assert features.grad.isfinite().all()
    assert scores.grad is None or scores.grad.isfinite().all()


def energies(rows, k):
    return [np.sort(row)[::-1][:k].mean() for row in rows]


def hinge(trial, anomalous, normal):
    return max(0.0, trial.ranking_margin - np.mean(anomalous) + np.mean(normal))


RISING = torch.tensor([[0.1, 0.2, 0.9, 0.8, 0.1], [0.3, 0.3, 0.4, 0.3, 0.0]])


def test_spread_compares_highest_with_lowest_scores_of_a_bag():
    trial = TrialConfig(ranking="spread", ranking_margin=0.9)
    value = trials.ranking_term(RISING, torch.tensor([1, 0]), torch.tensor([5, 4]), trial)
    assert value.item() == pytest.approx(hinge(trial, [0.9 - 0.1], [0.4 - 0.3]), rel=1e-5)


def test_smoothed_takes_the_dynamics_of_means_within_the_bag():
    trial = TrialConfig(ranking="smoothed", ranking_margin=0.9)
    value = trials.ranking_term(RISING, torch.tensor([1, 0]), torch.tensor([5, 4]), trial)
    means = []
    for row, n in zip(RISING.numpy(), (5, 4), strict=True):
        means.append([row[max(0, t - 2) : min(n, t + 3)].mean() for t in range(n)])
    jumps = energies([np.diff(row) ** 2 for row in means], 1)
    assert value.item() == pytest.approx(hinge(trial, jumps[:1], jumps[1:]), rel=1e-5)


def test_partly_is_the_ranking_of_the_package_where_all_anomalous_bags_count():
    scores = torch.rand(4, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels, lengths = torch.tensor([1, 0, 1, 0]), torch.tensor([40, 33, 20, 7])
    scores[torch.arange(40) >= lengths[:, None]] = 0
    trial = TrialConfig(ranking="partly", ranking_margin=0.4)
    terms = ddl_loss(
        scores, torch.ones(4, 40, 2, dtype=torch.float64), labels, lengths=lengths,
        ranking_weight=1.0, alignment_weight=0.0, margin=0.4,
    )  # fmt: skip
    value = trials.ranking_term(scores, labels, lengths, trial)
    torch.testing.assert_close(value, terms.ranking)


def test_partly_leaves_out_bags_that_are_high_or_low_throughout():
    trial = TrialConfig(ranking="partly", ranking_margin=0.5)
    scores = torch.stack(
        [torch.linspace(0.6, 0.9, 9), torch.linspace(0.2, 0.4, 9), RISING.new_zeros(9)]
    )
    labels, lengths = torch.tensor([1, 1, 0]), torch.full((3,), 9)
    assert trials.ranking_term(scores, labels, lengths, trial).item() == 0
    scores[1, 4] = 1.0  # now it is high somewhere
    jump = 1 - scores[1, 3].item()
    value = trials.ranking_term(scores, labels, lengths, trial)
    assert value.item() == pytest.approx(max(0, 0.5 - jump**2), rel=1e-5)


@pytest.mark.parametrize("form", ["partly", "spread", "smoothed"])
def test_a_ranking_has_finite_gradients_that_differences_confirm(form):
    trial = TrialConfig(ranking=form, ranking_margin=0.9)
    generator = torch.Generator().manual_seed(1)
    scores = torch.rand(3, 20, generator=generator, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([20, 9, 17])
    assert torch.autograd.gradcheck(
        lambda s: trials.ranking_term(s, LABELS, lengths, trial), [scores]
    )


@pytest.mark.parametrize("form", ["partly", "spread", "smoothed"])
@pytest.mark.parametrize("label", [0, 1])
def test_a_ranking_of_one_class_or_one_snippet_is_zero_or_finite(form, label):
    trial = TrialConfig(ranking=form)
    scores = torch.full((2, 1), 0.5, requires_grad=True)
    lengths = torch.ones(2, dtype=torch.int64)
    value = trials.ranking_term(scores, torch.full((2,), label), lengths, trial)
    value.backward()
    assert value.item() == 0
    assert not scores.grad.any()
