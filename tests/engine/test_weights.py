"""Trained weights come back as the network that wrote them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ladnet_fast import LANet
from ladnet_fast.engine import Config, ConfigError, ModelConfig, load_model, save_config, save_model

CONFIG = ModelConfig(
    feature_dim=12, hidden_dim=8, num_heads=2, mlp_dims=(16, 8), prior="logit",
    prior_form="exp_abs", learn_prior=False,
)  # fmt: skip


def same(one: LANet, other: LANet) -> bool:
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )


def test_one_file_is_enough(tmp_path: Path) -> None:
    net = CONFIG.build()
    save_model(tmp_path / "model.safetensors", net, CONFIG)
    state = torch.get_rng_state()
    for source in (tmp_path, tmp_path / "model.safetensors"):
        loaded = load_model(source, impl="reference")
        assert same(net, loaded)
        assert not loaded.training
        assert loaded.attention.prior_kind == "logit"
        assert loaded.attention.impl == "reference"
    assert torch.equal(state, torch.get_rng_state())


def test_plain_state_dict_takes_its_options_from_the_configuration_beside_it(
    tmp_path: Path,
) -> None:
    net = CONFIG.build()
    save_file(net.state_dict(), tmp_path / "mine.safetensors")
    with pytest.raises(ValueError, match=r"put the run's config\.yaml beside it"):
        load_model(tmp_path / "mine.safetensors")
    save_config(tmp_path / "config.yaml", Config(model=CONFIG))
    assert same(net, load_model(tmp_path / "mine.safetensors"))


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent.*does not exist"):
        load_model(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"holds no model\.safetensors"):
        load_model(tmp_path)
    path = tmp_path / "model.safetensors"
    save_model(path, CONFIG.build(), CONFIG)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load_model(path)
    with pytest.raises(ConfigError, match="feature_dim"):
        save_model(path, CONFIG.build(), ModelConfig())


def test_weights_that_do_not_fit_the_options_are_refused(tmp_path: Path) -> None:
    save_file(CONFIG.build().state_dict(), tmp_path / "model.safetensors")
    save_config(tmp_path / "config.yaml", Config(model=ModelConfig(feature_dim=12)))
    with pytest.raises(ValueError, match="don't fit the model's options"):
        load_model(tmp_path)
