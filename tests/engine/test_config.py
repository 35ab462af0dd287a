"""Configuration: defaults, YAML, overrides, errors."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import numpy as np
import pytest
import torch

from ladnet_fast import DDLLoss, LANet
from ladnet_fast.engine import (
    Config,
    ConfigError,
    LossConfig,
    ModelConfig,
    TrainingConfig,
    load_config,
    save_config,
)
from ladnet_fast.nn.prior import LARGEST_SIGMA, SMALLEST_SIGMA


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
        ("training.lr='1'", "training.lr must be a number; got '1'"),
        ("training.lr='0.1'", "must be a number; got '0.1'"),
        ("training.lr=nan", "must be a number; got 'nan'"),
        ("training.lr=true", "must be a number; got True"),
        ("training.lr=[1]", "must be a number"),
        ("training.lr=1e39", r"training.lr must be at most 3.4e\+38 in size"),
        ("training.lr=1e400", "training.lr must be finite"),
        ("training.lr=1" + 400 * "0", "training.lr must be finite"),
        ("training.lr=1e-40", "training.lr must be at least 1.2e-38"),
        ("training.weight_decay=.inf", "training.weight_decay must be finite"),
        ("training.weight_decay=1e300", "training.weight_decay must be at most"),
        ("training.clip_norm=-.inf", "finite"),
        ("training.epochs=1000000000000", "training.epochs must be at most 1000000"),
        ("training.epochs=1" + 5000 * "0", "not valid YAML|at most 9223372036854775807"),
        ("training.epochs='3'", "must be a whole number; got '3'"),
        ("training.epochs=3.0", "must be a whole number"),
        ("training.epochs=010", "010 is no plain number: YAML would read 8"),
        ("training.epochs=1:30", "1:30 is no plain number: YAML would read 90"),
        ("training.epochs=0x10", "0x10 is no plain number"),
        ("training.workers=100000", "training.workers must be at most 1024"),
        ("training.seed=9223372036854775808", "training.seed must be at most 9223372036854775807"),
        ("training.seed=2020-13-45", "not valid YAML"),
        ("training.device=[cpu]", "auto, cpu, cuda; got .'cpu'"),
        ("training.device=&a cpu", "anchors and aliases"),
        ("training.device={a: 1, a: 2}", "the key 'a' occurs twice"),
        ("training.device=" + 5000 * "[", "nested too deeply|not valid YAML"),
        ("training.device=" + 100 * "[" + 100 * "]", "auto, cpu, cuda"),
        ("model.sigma=1e300", "model.sigma must be at most"),
        ("model.sigma=1e35", "model.sigma must be a finite number.* to 1e\\+30"),
        ("model.sigma=1e-300", "model.sigma must be .*from 1e-12"),
        ("model.sigma=0", "model.sigma must be a finite number greater than 0"),
        ("model.sigma=-1", "model.sigma must be a finite number greater than 0"),
        ("model.sigma=.inf", "model.sigma must be finite"),
        ("model.hidden_dim=1000000000000", "model.hidden_dim must be from 1 to 16777216"),
        ("model.hidden_dim=0", "model.hidden_dim must be from 1"),
        ("model.mlp_dims=[]", "model.mlp_dims must have 1 to 100 widths; got 0"),
        ("model.mlp_dims=[4, 0]", r"model.mlp_dims\[1\] must be from 1"),
        ("model.num_heads=3", "model.num_heads must divide model.hidden_dim = 128; got 3"),
        ("model.dropout=1", r"model.dropout must be in \[0, 1\)"),
        ("loss.margin=1e39", "loss.margin must be at most"),
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
    with pytest.raises(ConfigError, match=message) as error:
        Config().override([text])
    assert len(str(error.value)) < 1500


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "the top must be a mapping of the sections"),
        ("training: 3", "training must be a mapping"),
        ("a: [", "not valid YAML"),
        ("1: 2", "a key must be a name"),
        ("training: {epochz: 1}", "unknown option training.epochz"),
        ("training:\n  lr: 1\n  epochs: 2\n  lr: 3\n", "in line 4: the key 'lr' occurs twice"),
        ("training: {}\nmodel: {}\ntraining: {}\n", "the key 'training' occurs twice"),
        ("a: &x [1]\ntraining: *x\n", "in line 1: anchors and aliases"),
        ("training: " + 5000 * "{a: ", "nested too deeply|not valid YAML"),
        ("training: {lr: 2020-99-99}", "not valid YAML"),
        ("x" * 5_000_000, "at most 4,194,304 bytes; got 5,000,000"),
        ("x" * 2_000_000, "at most 1,048,576 characters; got 2,000,000"),
        ("\0", "not valid YAML"),
        (f"training: {{device: {'x' * 100_000}}}", r"one of auto, cpu, cuda; got 'x+\.\.\.x+'$"),
        (f"training: {{{'x' * 900}: 1}}", "unknown option training.x"),
        (f"{'x' * 900}: 1", "unknown section x"),
        ("training: !!python/object/apply:os.system [ls]", "not valid YAML"),
    ],
)
def test_error_in_a_file_names_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        load_config(path)
    assert "mine.yaml" in str(error.value)
    assert len(str(error.value)) < 1500
    assert len(str(error.value).splitlines()) == 1


def test_bomb_of_aliases_is_refused_at_once(tmp_path: Path) -> None:
    """A few hundred bytes that would stand for billions of entries."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    (tmp_path / "c.yaml").write_text("\n".join([*lines, "training: {device: *a9}"]))
    with pytest.raises(ConfigError, match="anchors and aliases") as error:
        load_config(tmp_path / "c.yaml")
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": "fast"}, "training.lr must be a number"),
        ({"weight_decay": float("inf")}, "training.weight_decay must be finite"),
        ({"lr": float("nan")}, "training.lr must be finite"),
        ({"epochs": 2.5}, "training.epochs must be a whole number"),
        ({"seed": 2**63}, "training.seed must be at most"),
        ({"device": None}, "training.device must be one of"),
    ],
)
def test_options_from_python_are_checked_like_those_from_a_file(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainingConfig(**options)  # type: ignore[arg-type]


def test_numbers_of_numpy_and_lists_are_taken_as_what_they_are() -> None:
    training = TrainingConfig(seed=np.int64(3), lr=np.float32(0.5))  # type: ignore[arg-type]
    assert (training.seed, training.lr) == (3, 0.5)
    assert (type(training.seed), type(training.lr)) == (int, float)
    assert ModelConfig(mlp_dims=[4, 3]).mlp_dims == (4, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["gaussian", "exp_abs"])
@pytest.mark.parametrize("sigma", [SMALLEST_SIGMA, 1e-6, 1e6, LARGEST_SIGMA])
def test_every_allowed_sigma_gives_finite_scores_and_gradients(form: str, sigma: float) -> None:
    options = {"hidden_dim": 4, "mlp_dims": [4, 2], "prior_form": form, "sigma": sigma}
    config = Config().replace(model={"feature_dim": 3, **options})
    net = config.model.build(impl="reference")
    net(torch.randn(2, 40, 3)).scores.sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.isfinite().all(), name
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all(), name


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.yaml"):
        load_config(tmp_path / "absent.yaml")


def test_model_without_a_width_is_refused() -> None:
    with pytest.raises(ConfigError, match="feature_dim"):
        ModelConfig().build()


def test_ddl_off_counts_multiple_instance_loss_alone() -> None:
    criterion = LossConfig(ddl=False).build()
    assert (criterion.ranking_weight, criterion.alignment_weight) == (0, 0)
