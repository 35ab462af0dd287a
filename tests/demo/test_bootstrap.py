from __future__ import annotations

import numpy as np
import pytest

from ladnet_fast.demo.bootstrap import FIGURES, Bootstrap
from ladnet_fast.metrics import evaluate


@pytest.fixture
def bags() -> tuple[list[np.ndarray], list[int]]:
    rng = np.random.default_rng(0)
    labels = [0, 1, 0, 1, 1, 0]
    truth = [np.zeros(40 + 5 * i, np.uint8) for i in range(6)]
    for bag, label in zip(truth, labels, strict=True):
        if label:
            start = int(rng.integers(20))
            bag[start : start + 12] = 1
    return truth, labels


def _scores(truth: list[np.ndarray], seed: int, skill: float, step: float = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = [(rng.random(len(bag)) + skill * bag).astype(np.float32) for bag in truth]
    return [np.round(bag / step) * np.float32(step) if step else bag for bag in scores]


@pytest.mark.parametrize("step", [0, 0.25], ids=["all different", "many ties"])
def test_figures_are_those_of_the_metrics(bags, step: float) -> None:
    truth, labels = bags
    scores = [_scores(truth, seed, 0.3, step) for seed in (0, 1)]
    measured = Bootstrap(truth, labels, 2, resamples=3).measure(scores)
    for position, bags_of_seed in enumerate(scores):
        metrics = evaluate(bags_of_seed, truth, labels)
        for name in FIGURES:
            assert measured[name].seen[position] == pytest.approx(getattr(metrics, name), abs=1e-12)


def test_a_draw_is_what_the_metrics_give_for_the_bags_drawn(bags) -> None:
    truth, labels = bags
    scores = _scores(truth, 0, 0.3)
    bootstrap = Bootstrap(truth, labels, 1, resamples=20)
    measured = bootstrap.measure([scores])
    for draw, weights in enumerate(bootstrap.weights.astype(int)):
        chosen = np.repeat(np.arange(len(truth)), weights)
        assert [sum(labels[i] == label for i in chosen) for label in (0, 1)] == [3, 3]
        metrics = evaluate(
            [scores[i] for i in chosen], [truth[i] for i in chosen], [labels[i] for i in chosen]
        )
        for name in FIGURES:
            assert measured[name].drawn[0, draw] == pytest.approx(getattr(metrics, name), abs=1e-12)


def test_an_interval_holds_the_mean_and_is_the_same_again(bags) -> None:
    truth, labels = bags
    scores = [_scores(truth, seed, 0.3) for seed in range(3)]

    def estimate():
        bootstrap = Bootstrap(truth, labels, 3)
        return bootstrap.estimate(bootstrap.measure(scores)["auc"])

    first = estimate()
    assert first.low < first.mean < first.high
    assert first.mean == pytest.approx(np.mean(first.by_seed))
    assert first == estimate()


def test_a_configuration_differs_from_itself_by_nothing(bags) -> None:
    truth, labels = bags
    bootstrap = Bootstrap(truth, labels, 2)
    measured = bootstrap.measure([_scores(truth, seed, 0.3) for seed in (0, 1)])
    for figure in measured.values():
        difference = bootstrap.estimate(figure, figure)
        assert (difference.mean, difference.low, difference.high) == (0, 0, 0)
        assert not difference.apart_from_zero


def test_a_difference_turns_its_sign_with_the_sides(bags) -> None:
    truth, labels = bags
    bootstrap = Bootstrap(truth, labels, 2)
    better = bootstrap.measure([_scores(truth, seed, 1.0) for seed in (0, 1)])["auc"]
    worse = bootstrap.measure([_scores(truth, seed, 0.0) for seed in (0, 1)])["auc"]
    up, down = bootstrap.estimate(better, worse), bootstrap.estimate(worse, better)
    assert up.low > 0
    assert up.apart_from_zero
    assert down.apart_from_zero
    assert (down.mean, down.low, down.high) == pytest.approx((-up.mean, -up.high, -up.low))


def test_a_pair_is_closer_than_its_sides(bags) -> None:
    """What both sides share, an easy bag or a good seed, is no part of their difference."""
    truth, labels = bags
    bootstrap = Bootstrap(truth, labels, 3)
    one = [_scores(truth, seed, 0.3) for seed in range(3)]
    other = [[bag + 0.01 * t for bag, t in zip(bags_, truth, strict=True)] for bags_ in one]
    a, b = bootstrap.measure(one)["auc"], bootstrap.measure(other)["auc"]
    difference, alone = bootstrap.estimate(b, a), bootstrap.estimate(a)
    assert difference.high - difference.low < (alone.high - alone.low) / 5
