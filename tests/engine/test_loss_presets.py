"""Named sets of loss options: what they hold, and where they are read."""

from __future__ import annotations

import inspect

import pytest
import torch

import ladnet_fast.functional as LF
from ladnet_fast import DDLLoss
from ladnet_fast.engine import Config, load_config, save_config
from ladnet_fast.engine.coercion import ConfigError
from ladnet_fast.losses.ddl import PRESETS

OPTIONS = set(inspect.signature(DDLLoss).parameters) - {"impl"}


def options_of(criterion):
    return {name: getattr(criterion, name) for name in OPTIONS}


def test_the_papers_form_names_every_option_and_the_values_of_before():
    assert set(PRESETS["paper"]) == OPTIONS
    assert options_of(DDLLoss.from_preset("paper")) == {
        "ranking_weight": 0.1,
        "alignment_weight": 1.0,
        "margin": 0.1,
        "topk_divisor": 16,
        "eps": 1e-6,
        "pairing": "batch_mean",
        "select": "topk",
        "detach": "none",
        "alignment_form": "product",
    }


def test_the_preset_mil_is_the_multiple_instance_loss_alone():
    generator = torch.Generator().manual_seed(0)
    scores, features = torch.rand(2, 5, generator=generator), torch.randn(2, 5, 3)
    terms = DDLLoss.from_preset("mil")(scores, features, torch.tensor([0, 1]))
    assert terms.total == terms.mil
    assert terms.alignment > 0


def test_what_is_given_beside_a_preset_wins():
    criterion = DDLLoss.from_preset("paper", margin=0.3, impl="reference")
    assert (criterion.margin, criterion.impl) == (0.3, "reference")
    assert criterion.alignment_weight == 1.0


@pytest.mark.parametrize("name", ["Paper", "", None, 3, ["paper"]])
def test_another_name_is_refused_with_the_ones_there_are(name):
    with pytest.raises(ValueError, match="preset must be one of paper, mil; got"):
        DDLLoss.from_preset(name)
    with pytest.raises(ConfigError, match=r"loss\.preset must be one of paper, mil; got"):
        Config.from_dict({"loss": {"preset": name}})


def test_presets_can_not_be_changed():
    with pytest.raises(TypeError):
        PRESETS["paper"]["margin"] = 1.0  # type: ignore[index]


@pytest.mark.parametrize("order", [("preset=paper", "margin=0.3"), ("margin=0.3", "preset=paper")])
def test_a_configuration_reads_a_preset_in_any_order(order):
    config = Config().override([f"loss.{assignment}" for assignment in order])
    assert config.loss.margin == 0.3
    assert config.loss.ddl
    built = options_of(config.loss.build())
    assert built == options_of(DDLLoss.from_preset("paper", margin=0.3))


def test_a_preset_replaces_what_an_earlier_configuration_said():
    earlier = Config.from_dict({"loss": {"ddl": False, "detach": "score", "impl": "reference"}})
    loss = earlier.override(["loss.preset=paper"]).loss
    assert options_of(loss.build()) == options_of(DDLLoss.from_preset("paper"))
    assert loss.impl == "reference"


def test_a_saved_configuration_holds_plain_options(tmp_path):
    config = Config.from_dict({"loss": {"preset": "mil"}})
    save_config(tmp_path / "config.yaml", config)
    assert "preset" not in (tmp_path / "config.yaml").read_text()
    assert load_config(tmp_path / "config.yaml") == config


def test_the_function_takes_a_presets_options():
    scores, features = torch.rand(2, 5), torch.randn(2, 5, 3)
    labels = torch.tensor([0, 1])
    by_function = LF.ddl_loss(scores, features, labels, **PRESETS["paper"])
    assert by_function == DDLLoss.from_preset("paper")(scores, features, labels)


def test_the_defaults_are_those_that_the_evidence_supports():
    for criterion in (DDLLoss(), Config().loss.build()):
        assert criterion.ranking_weight == 0
        assert (criterion.alignment_weight, criterion.detach) == (5, "score")
    assert DDLLoss.from_preset("paper").detach == "none"
