"""Training in memory: it is the engine's, its terms are their formulas, baselines learn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from benchmarks.accuracy import baselines, datasets, training
from benchmarks.accuracy.grid import Setup, TrialConfig
from ladnet_fast import DDLLoss
from ladnet_fast.engine import Config, score_video, train

from .accuracy_data import WIDTH, write_set

SMALL = {"hidden_dim": 8, "mlp_dims": [16, 8], "kernel_size": 3}


def setup(epochs=2, *, trial=None, impl="reference", **sections):
    options = {"epochs": epochs, "batch_size": 4, **sections.pop("training", {})}
    model = {**SMALL, "impl": impl, **sections.pop("model", {})}
    loss = {"impl": impl, **sections.pop("loss", {})}
    return Setup(
        Config().replace(training=options, model=model, loss=loss), TrialConfig(**(trial or {}))
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return datasets.load(str(write_set(tmp_path_factory.mktemp("sets") / "tiny")))


@pytest.mark.parametrize("options", [{}, {"balanced": True}, {"validation": 0.0}])
def test_a_run_gives_the_scores_of_the_engine(tiny, tmp_path, options):
    chosen = setup(3, training=options)
    _, scores = training.run(tiny, chosen, seed=5)
    config = chosen.config.replace(
        training={"seed": 5, "validation": options.get("validation", 0.2)}
    )
    held = config.training.validation > 0
    videos = list(tiny.parts[0].train)
    result = train(config, videos, run_dir=tmp_path / "run")
    by_engine = np.concatenate([score_video(result.model, video) for video in tiny.tested])
    epoch = result.epoch if held else 3
    np.testing.assert_allclose(scores[epoch - 1], by_engine, atol=2e-6)


def test_a_run_repeats_itself_and_seeds_differ(tiny):
    first, again, other = (training.run(tiny, setup(), seed=s)[1] for s in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert not np.allclose(first, other)


def test_torch_random_state_is_left_alone(tiny):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    training.run(tiny, setup(1), seed=0)
    assert torch.equal(torch.rand(2), expected)


def test_figures_are_those_of_the_scores_epoch_by_epoch(tiny):
    result, scores = training.run(tiny, setup(3), seed=0)
    assert scores.shape == (3, len(tiny.truth.video))
    for row, epoch in zip(scores, result["epochs"], strict=True):
        assert training.test_figures(row.astype(float), tiny.truth) == epoch
    assert len(result["criteria"]) == len(result["train_seconds"]) == 3


def test_without_held_out_bags_no_epoch_can_be_chosen(tiny):
    result, _ = training.run(tiny, setup(1, training={"validation": 0}), seed=0)
    assert result["criteria"] == []


def test_folds_are_scored_by_networks_that_never_saw_them(tmp_path):
    dataset = datasets.load(str(write_set(tmp_path / "tiny", folds=2)))
    _, scores = training.run(dataset, setup(1), seed=0)
    alone = dataclasses.replace(
        dataset,
        parts=dataset.parts[1:],
        truth=datasets._truth(dataset.parts[1].test, tmp_path),
    )
    _, second = training.run(alone, setup(1), seed=0)
    assert scores.shape[1] == len(dataset.truth.video)
    np.testing.assert_array_equal(scores[:, -second.shape[1] :], second)


def test_reference_and_native_agree_within_a_hundredth(tiny):
    figures = [
        training.run(tiny, setup(5, impl=impl), seed=0)[0]["epochs"][-1]
        for impl in ("reference", "native")
    ]
    for name, value in figures[0].items():
        assert figures[1][name] == pytest.approx(value, abs=0.01), name


@pytest.mark.parametrize("method", ["lanet", "mlp", "sultani", "rtfm", "logistic"])
def test_every_method_finds_what_stands_out(tiny, method):
    chosen = setup(30, trial={"method": method}, training={"balanced": True, "lr": 5e-3})
    result, _ = training.run(tiny, chosen, seed=0)
    assert result["epochs"][-1]["auc"] > 0.85


@pytest.mark.parametrize("normalise", ["z", "l2"])
def test_normalised_features_do_not_depend_on_their_scale(tiny, normalise):
    chosen = setup(1, trial={"normalise": normalise})
    bags = datasets.training_bags(list(tiny.parts[0].train), chosen.config.training)
    x = bags[0].features
    shift = training._normaliser(bags, chosen.trial)
    scaled = [bags[i]._replace(features=bags[i].features * 100) for i in range(len(bags))]
    bags._kept = dict(enumerate(scaled))
    torch.testing.assert_close(training._normaliser(bags, chosen.trial)(x * 100), shift(x))


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
        value = training.trial_terms(scores, features, lengths, trial)
        assert value.item() == pytest.approx(2 * expected, rel=1e-4), name
    assert training.trial_terms(scores, features, lengths, TrialConfig()) is None


def test_the_correlation_on_trial_is_the_one_of_the_package():
    scores, features, lengths = random_bags()
    trial = training.trial_terms(scores, features, lengths, TrialConfig(correlation_weight=1.0))
    labels = torch.tensor([1, 0, 1])
    terms = DDLLoss(alignment_form="correlation")(scores, features, labels, lengths)
    torch.testing.assert_close(trial, terms.alignment)


@pytest.mark.parametrize("name", ["correlation_weight", "crossentropy_weight"])
@pytest.mark.parametrize(("detach", "silent"), [("none", ()), ("score", (0,)), ("feature", (1,))])
def test_detach_stops_the_gradient_of_one_factor(name, detach, silent):
    scores, features, lengths = random_bags()
    value = training.trial_terms(
        scores, features, lengths, TrialConfig(**{name: 1.0}, detach=detach)
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
    value = training.trial_terms(scores, features, torch.tensor([6, 2]), TrialConfig(**{name: 1.0}))
    value.backward()
    assert value.isfinite()
    assert features.grad.isfinite().all()
    assert scores.grad is None or scores.grad.isfinite().all()


def test_a_warm_up_starts_near_mil_alone(tiny):
    loss = {"ranking_weight": 0.0, "alignment_weight": 50.0}
    mil = training.run(tiny, setup(1, loss={"ddl": False}), seed=0)[1]
    cold, warm = (
        training.run(tiny, setup(1, loss=loss, trial={"warmup_epochs": n}), seed=0)[1]
        for n in (0, 1000)
    )
    assert np.abs(warm - mil).max() < np.abs(cold - mil).max()


@pytest.mark.parametrize("model", [baselines.MLP, baselines.Sultani, baselines.RTFM])
def test_baselines_score_padding_zero_and_need_both_classes_for_no_finite_loss(model):
    torch.manual_seed(0)
    net = model(WIDTH).eval()
    x, lengths = torch.randn(3, 8, WIDTH), torch.tensor([8, 3, 1])
    scores, features = net(x, lengths)
    changed = x.clone()
    changed[1, 3:], changed[2, 1:] = 7.0, 7.0
    torch.testing.assert_close(net(changed, lengths)[0], scores)
    assert not scores[1, 3:].any()
    for labels in ([1, 0, 0], [1, 1, 1], [0, 0, 0]):
        value = net.loss(scores, features, torch.tensor(labels).float(), lengths)
        assert value.isfinite(), labels


def test_a_loss_that_is_not_finite_names_the_epoch(tiny):
    with pytest.raises(FloatingPointError, match=r"epoch 1, step \d+: the loss is nan"):
        training.run(tiny, setup(3, training={"lr": 1e30}), seed=0)


@pytest.mark.parametrize("learned", [True, False])
def test_every_head_starts_with_its_own_width(tiny, learned):
    model = {"num_heads": 2, "learn_prior": learned}
    chosen = setup(1, trial={"sigmas": (0.5, 40.0)}, model=model)
    net, _ = training._network(WIDTH, chosen)
    widths = 1 / (2 * net.attention.prior()[0])
    np.testing.assert_allclose(widths.detach().numpy(), [0.5, 40.0], rtol=1e-6)
    plain = setup(1, model={"num_heads": 2, "sigma": 3.0})
    equal = setup(1, model={"num_heads": 2}, trial={"sigmas": (3.0, 3.0)})
    first, second = (training.run(tiny, one, seed=0)[1] for one in (plain, equal))
    np.testing.assert_allclose(first, second, atol=1e-6)
