"""Configuration: defaults, YAML, overrides, errors."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import pytest

from ladnet_fast import DDLLoss, LANet
from ladnet_fast.engine import (
    Config,
    ConfigError,
    LossConfig,
    ModelConfig,
    load_config,
    save_config,
)


@pytest.mark.parametrize(
    ("section", "target", "extra"),
    [(ModelConfig, LANet, set()), (LossConfig, DDLLoss, {"ddl"})],
)
def test_section_has_every_option_of_its_module_with_the_same_default(
    section: type, target: type, extra: set[str]
) -> None:
    defaults = {
        name: parameter.default for name, parameter in inspect.signature(target).parameters.items()
    }
    ours = {field.name: field.default for field in dataclasses.fields(section)}
    assert ours.keys() - extra == defaults.keys()
    differing = {name for name, default in defaults.items() if ours[name] != default}
    # Read from the data when it is not given.
    assert differing <= {"feature_dim"}


def test_training_defaults_are_those_of_the_released_code() -> None:
    training = Config().training
    assert (training.lr, training.batch_size, training.epochs, training.t_max) == (
        5e-4,
        128,
        50,
        60,
    )
    assert training.weight_decay == 0
    assert (training.schedule, training.sampling, training.crops) == ("cosine", "linspace", "all")
    assert not training.balanced
    assert not training.select_on_test


def test_yaml_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    config = Config().override(
        ["model.mlp_dims=[4, 3]", "loss.ddl=false", "training.lr=5e-4", "training.snippets=null"]
    )
    save_config(tmp_path / "c.yaml", config)
    assert load_config(tmp_path / "c.yaml") == config
    assert config.model.mlp_dims == (4, 3)
    assert not config.loss.ddl


def test_empty_file_and_empty_section_are_the_defaults(tmp_path: Path) -> None:
    for text in ("", "training:\n"):
        (tmp_path / "c.yaml").write_text(text)
        assert load_config(tmp_path / "c.yaml") == Config()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("training.lr=5e-4", 5e-4),  # text in YAML 1.1
        ("training.lr=1", 1.0),
        ("training.mixed_precision=no", "no"),  # False in YAML 1.1
        ("training.snippets=64", 64),
        ("training.clip_norm=~", None),
        ("model.prior=logit", "logit"),
        ("loss.ddl=off", False),
    ],
)
def test_override_reads_yaml_values(text: str, value: object) -> None:
    section, _, key = text.partition("=")[0].partition(".")
    assert getattr(getattr(Config().override([text]), section), key) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training.epoch=3", r"training\.epoch \(did you mean training\.epochs\?\).*training\.lr"),
        ("trainig.epochs=3", "unknown section trainig .*model, loss, training"),
        ("epochs=3", "section.key=value"),
        ("training.epochs", "section.key=value"),
        ("training.epochs=[", "not valid YAML"),
        ("training.epochs=2.5", "training.epochs must be a whole number; got 2.5"),
        ("training.epochs=true", "must be a whole number"),
        ("training.epochs=0", "at least 1"),
        ("training.epochs=61", "training.t_max must be at least training.epochs = 61"),
        ("training.lr=fast", "training.lr must be a number; got 'fast'"),
        ("training.lr=.nan", "finite"),
        ("training.lr=0", "greater than 0"),
        ("training.seed=-1", "at least 0"),
        ("training.validation=1", r"in \[0, 1\)"),
        ("training.accumulate=3", "must divide training.batch_size = 128"),
        ("training.balanced=yes please", "true or false"),
        ("training.device=tpu", "auto, cpu, cuda"),
        ("model.prior=gauss", "additive, logit, none"),
        ("model.mlp_dims=128", "a list"),
        ("model.mlp_dims=[512, wide]", r"model.mlp_dims\[1\] must be a whole number"),
        ("loss.margin=-1", "loss.margin must be a finite number of at least 0"),
        ("loss.topk_divisor=0", "loss.topk_divisor"),
    ],
)
def test_bad_option_is_named_with_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config().override([text])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "at the top"),
        ("training: 3", "training must be a mapping"),
        ("a: [", "not valid YAML"),
        ("1: 2", "a key must be a name"),
        ("training: {epochz: 1}", "unknown option training.epochz"),
    ],
)
def test_error_in_a_file_names_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        load_config(path)
    assert "mine.yaml" in str(error.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.yaml"):
        load_config(tmp_path / "absent.yaml")


def test_model_without_a_width_is_refused() -> None:
    with pytest.raises(ConfigError, match="feature_dim"):
        ModelConfig().build()


def test_ddl_off_counts_multiple_instance_loss_alone() -> None:
    criterion = LossConfig(ddl=False).build()
    assert (criterion.ranking_weight, criterion.alignment_weight) == (0, 0)
