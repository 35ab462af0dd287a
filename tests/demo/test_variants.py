from __future__ import annotations

import pytest

from ladnet_fast.demo import variants as module
from ladnet_fast.demo.learn import demo_config
from ladnet_fast.demo.variants import Variant, variants
from ladnet_fast.engine import Config


def test_the_first_two_have_the_plain_loss_without_and_with_the_prior() -> None:
    plain, prior, *_ = variants()[0]
    assert (plain.key, plain.config.model.prior, plain.config.loss.ddl) == ("plain", "none", False)
    assert (prior.key, prior.config.loss.ddl) == ("mil", False)
    assert prior.config.model.prior in (Config().model.prior, "additive")


def test_each_adds_one_thing_to_one_before_it() -> None:
    chosen = variants()[0]
    for position, entry in enumerate(chosen[1:], start=1):
        (against,) = (other for other in chosen[:position] if other.key == entry.against)
        assert (entry.config.model != against.config.model) != (
            entry.config.loss != against.config.loss
        )


def test_all_else_is_alike(tiny) -> None:
    trainings = [demo_config(tiny, entry, 3).training for entry in variants()[0]]
    assert all(training == trainings[0] for training in trainings)


def _with_defaults(monkeypatch: pytest.MonkeyPatch, **loss: object) -> tuple[list[str], list[str]]:
    """Run `variants` as if the package's losses had other defaults."""

    class Other(Config):
        def __new__(cls) -> Config:  # type: ignore[misc]
            return Config().replace(loss=loss)

    monkeypatch.setattr(module, "Config", Other)
    chosen, notes = variants()
    return [entry.key for entry in chosen], notes


def test_defaults_that_are_the_papers_are_trained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    keys, notes = _with_defaults(monkeypatch, preset="paper")
    assert keys == ["plain", "mil", "ddl"]
    (note,) = notes
    assert "the paper's losses" in note
    assert "not trained again" in note


def test_defaults_of_their_own_stand_beside_the_papers(monkeypatch: pytest.MonkeyPatch) -> None:
    keys, notes = _with_defaults(monkeypatch, preset="paper", alignment_weight=5.0)
    assert (keys, notes) == (["plain", "mil", "ddl", "paper"], [])


def test_defaults_without_weight_are_the_plain_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    keys, notes = _with_defaults(monkeypatch, ranking_weight=0.0, alignment_weight=0.0, margin=0.3)
    assert keys == ["plain", "mil", "paper"]
    assert len(notes) == 1


def test_an_option_is_not_lost_on_the_way() -> None:
    entry = Variant("x", "X", {"prior": "logit"}, {"ddl": True, "alignment_weight": 3.0})
    assert (entry.config.model.prior, entry.config.loss.alignment_weight) == ("logit", 3.0)
