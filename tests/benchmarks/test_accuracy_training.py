"""Training in memory: it is the engine's, its terms are their formulas, baselines learn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from benchmarks.accuracy import baselines, datasets, training
from benchmarks.accuracy.grid import Setup, TrialConfig
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
