"""Trained weights come back as the network that wrote them."""

from __future__ import annotations

import dataclasses
import json
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


def test_configuration_beside_needs_to_say_only_what_the_weights_do_not(tmp_path: Path) -> None:
    net = CONFIG.build()
    save_file(net.state_dict(), tmp_path / "mine.safetensors")
    (tmp_path / "config.yaml").write_text("model: {prior: logit, feature_dim: null}\n")
    loaded = load_model(tmp_path / "mine.safetensors")
    assert same(net, loaded)
    assert loaded.attention.prior_kind == "logit"
    (tmp_path / "config.yaml").write_text("model: {prior: logit, num_heads: 4}\n")
    with pytest.raises(ValueError, match=r"prior\.w has the shape \(2,\) instead of \(4,\)"):
        load_model(tmp_path / "mine.safetensors")
    (tmp_path / "config.yaml").write_text("optimizer: {name: adam}\n")
    with pytest.raises(ConfigError, match=r"config\.yaml: unknown section optimizer"):
        load_model(tmp_path / "mine.safetensors")


@pytest.mark.parametrize(
    ("config", "open_options"),
    [
        (ModelConfig(feature_dim=12), ["prior", "query_dim"]),
        (ModelConfig(feature_dim=12, query_dim=5, num_heads=4), ["prior"]),
        (ModelConfig(feature_dim=12, query_dim=12, prior_form="exp_abs"), ["prior", "query_dim"]),
        (ModelConfig(feature_dim=12, prior="none", num_heads=2), ["num_heads", "query_dim"]),
        (ModelConfig(feature_dim=12, prior="none", num_heads=2, query_dim=5), ["num_heads"]),
        (ModelConfig(feature_dim=12, prior="none", hidden_dim=1, query_dim=5), []),
    ],
)
def test_options_that_weights_do_not_show_are_asked_for_and_never_guessed(
    tmp_path: Path, config: ModelConfig, open_options: list[str]
) -> None:
    net = config.build()
    path = tmp_path / "mine.pt"
    torch.save(dict(net.state_dict()), path)
    given: dict[str, object] = {}
    for name in open_options:
        with pytest.raises(ValueError, match=rf"its weights don't show them: {name} \("):
            load_model(path, options=given)
        given[name] = getattr(config, name)
    loaded = load_model(path, options=given)
    assert same(net, loaded)
    for name in ("prior_kind", "num_heads"):
        assert getattr(loaded.attention, name) == getattr(net.attention, name)
    assert loaded.query_dim == net.query_dim


def test_options_may_repeat_but_not_contradict_what_a_file_says(tmp_path: Path) -> None:
    save_model(tmp_path / "model.safetensors", CONFIG.build(), CONFIG)
    load_model(tmp_path, options={"prior": "logit", "mlp_dims": (16, 8)})
    with pytest.raises(ValueError, match="prior = 'logit'; options give 'additive'"):
        load_model(tmp_path, options={"prior": "additive"})
    torch.save(dict(CONFIG.build().state_dict()), tmp_path / "bare.pt")
    options = {"prior": "logit", "query_dim": None}
    with pytest.raises(ValueError, match="don't fit the model's options"):
        load_model(tmp_path / "bare.pt", options={**options, "hidden_dim": 32})
    with pytest.raises(ValueError, match=r"bare\.pt.*unknown option model\.priors"):
        load_model(tmp_path / "bare.pt", options={**options, "priors": "logit"})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_read_in_float32(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    state = {name: entry.to(dtype) for name, entry in CONFIG.build().state_dict().items()}
    torch.save(state, tmp_path / "mine.pt")
    loaded = load_model(tmp_path / "mine.pt", options={"prior": "logit", "query_dim": None})
    for name, entry in loaded.state_dict().items():
        assert torch.equal(entry, state[name].float())


def test_file_of_an_earlier_version_without_a_digest_is_read(tmp_path: Path) -> None:
    net = CONFIG.build()
    options = {**dataclasses.asdict(CONFIG), "mlp_dims": list(CONFIG.mlp_dims)}
    metadata = {"format": "pt", "ladnet_fast.model": json.dumps(options)}
    save_file(net.state_dict(), tmp_path / "model.safetensors", metadata=metadata)
    assert same(net, load_model(tmp_path))


def test_no_flipped_bit_is_taken_for_weights(tmp_path: Path) -> None:
    """Whatever bit flips, the file is refused or the network is the same one."""
    config = ModelConfig(feature_dim=2, hidden_dim=1, mlp_dims=(1,), kernel_size=1)
    path = tmp_path / "model.safetensors"
    net = config.build()
    save_model(path, net, config)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for bit in [*range(0, 8 * header, 37), *range(8 * header, 8 * len(whole), 13)]:
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            loaded = load_model(path)
        except ValueError as error:
            assert "model.safetensors" in str(error)  # noqa: PT017
            continue
        assert bit < 8 * header, "a bit of the tensors"
        assert same(net, loaded)
        assert loaded.attention.prior_kind == "additive"


def test_no_flipped_bit_of_a_saved_state_dict_is_taken_for_weights(tmp_path: Path) -> None:
    net = ModelConfig(feature_dim=2, hidden_dim=1, mlp_dims=(1,), kernel_size=1).build()
    path = tmp_path / "mine.pt"
    torch.save(net.state_dict(), path)
    whole = path.read_bytes()
    at = whole.index(net.attention.k.weight.detach().numpy().tobytes())
    for bit in range(64):
        damaged = bytearray(whole)
        damaged[at + bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"mine\.pt is damaged: its part mine/data"):
            load_model(path)


def test_archive_without_checksums_is_read(tmp_path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(dict(CONFIG.build().state_dict()), tmp_path / "mine.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    load_model(tmp_path / "mine.pt", options={"prior": "logit", "query_dim": None})
