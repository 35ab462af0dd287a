"""Trained weights with what is needed to build the network that they fit."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .._files import atomic_path
from ..nn import LANet
from .config import Config, ConfigError, ModelConfig, load_config

WEIGHTS = "model.safetensors"
CONFIG = "config.yaml"
_AUTHORS = (".pth", ".pt", ".pkl", ".ckpt")


def save_model(path: str | os.PathLike[str], model: LANet, config: ModelConfig) -> None:
    """Write weights atomically; the network's options stand in the file's metadata.

    Parameters
    ----------
    path : path-like
        A ``.safetensors`` file.
    model : LANet
        On any device.
    config : ModelConfig
        That built it, with ``feature_dim`` known.
    """
    if config.feature_dim is None:
        raise ConfigError("model.feature_dim must be known to save a model")
    state = {name: entry.detach().cpu().contiguous() for name, entry in model.state_dict().items()}
    options = {**dataclasses.asdict(config), "mlp_dims": list(config.mlp_dims)}
    with atomic_path(path) as temporary:
        save_file(
            state, temporary, metadata={"format": "pt", "ladnet_fast.model": json.dumps(options)}
        )


def load_model(
    source: str | os.PathLike[str], *, device: str | torch.device = "cpu", impl: str | None = None
) -> LANet:
    """Load a trained network, ready to score.

    Parameters
    ----------
    source : path-like
        The folder of a run; a ``.safetensors`` file that :func:`save_model` wrote, or one with
        LANet's state dict and a ``config.yaml`` beside it; or a ``.pth`` file in the layout of
        the authors' published checkpoint.
    device : str or torch.device
        Where to put it.
    impl : str, optional
        Who computes, instead of what the run's configuration says; see
        :class:`ladnet_fast.use_impl`.

    Returns
    -------
    LANet
        In evaluation mode.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or no model in the folder.
    ValueError
        If the file is damaged or the weights don't fit the options.
    """
    # Drawing weights that are replaced at once must not move the caller's random state.
    with torch.random.fork_rng(devices=[]):
        return _load(Path(source), impl).to(device).eval()


def _load(path: Path, impl: str | None) -> LANet:
    if path.is_dir():
        if not (path / WEIGHTS).is_file():
            raise FileNotFoundError(
                f"{path} holds no {WEIGHTS}: it is not the folder of a finished training run"
            )
        path = path / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"model {path} does not exist")
    if path.suffix.lower() in _AUTHORS:
        return LANet.from_authors_checkpoint(path, impl=impl or "auto")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
    net = _options(path, metadata).build(impl=impl)
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path}: the weights don't fit the model's options: {error}") from error
    return net


def _options(path: Path, metadata: dict[str, Any]) -> ModelConfig:
    text = metadata.get("ladnet_fast.model")
    if text is not None:
        return Config.from_dict({"model": json.loads(text)}).model
    beside = path.with_name(CONFIG)
    if not beside.is_file():
        raise ValueError(
            f"{path} does not say which options its network has; put the run's {CONFIG} beside it"
        )
    return load_config(beside).model
