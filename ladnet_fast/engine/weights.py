"""Trained weights with what is needed to build the network that they fit."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .._tensors import save_tensors
from .._values import path as checked_path
from ..nn import LANet
from ..nn.hub import options_in_state_dict
from ..nn.weight_files import read_weights_file
from ..nn.weight_layouts import (
    authors_layout,
    check_fits,
    is_authors_layout,
    known_options,
    state_of,
    unknown_options,
    unwrapped,
)
from .checkpoint import FORMAT as CHECKPOINT_FORMAT
from .coercion import ConfigError
from .config import Config, load_config, read_sections
from .sections import ModelConfig

WEIGHTS = "model.safetensors"
CONFIG = "config.yaml"
_OPTIONS = "ladnet_fast.model"
_TRAINED_ON = "ladnet_fast.trained_on"


def save_model(
    path: str | os.PathLike[str],
    model: LANet,
    config: ModelConfig,
    *,
    trained_on: Mapping[str, Any] | None = None,
) -> None:
    """Write weights atomically; the network's options stand in the file's metadata.

    A digest of all of it is written too, and checked by `load_model`.

    Parameters
    ----------
    path : path-like
        A ``.safetensors`` file.
    model : LANet
        On any device.
    config : ModelConfig
        That built it, with ``feature_dim`` known.
    trained_on : mapping, optional
        Settings of the extractor that the training features came from, of JSON types.

    Raises
    ------
    OSError
        If the file can't be written, for example because the disk is full.
    """
    if config.feature_dim is None:
        raise ConfigError(
            "model.feature_dim must be the width of the features to save a model; got None"
        )
    options = {**dataclasses.asdict(config), "mlp_dims": list(config.mlp_dims)}
    metadata = {"format": "pt", _OPTIONS: json.dumps(options, allow_nan=False)}
    if trained_on:
        metadata[_TRAINED_ON] = json.dumps(dict(trained_on), allow_nan=False)
    save_tensors(path, model.state_dict(), metadata)


def load_model(
    source: str | os.PathLike[str],
    *,
    device: str | torch.device = "cpu",
    impl: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> LANet:
    """Load a trained network, ready to score.

    A file is recognised by its content, not by its name. Files of ``torch.save`` are read as
    tensors only: pickled objects are refused, since unpickling them would run code. The state dict
    may lie under ``state_dict``, ``model`` or ``model_state_dict``, and its names may begin with
    the ``module.`` of ``torch.nn.DataParallel``.

    Parameters
    ----------
    source : path-like
        The folder of a run; a file that `save_model` wrote; the authors' published
        audio-visual checkpoint; or LANet's state dict, as a safetensors file or from
        ``torch.save``.
    device : str or torch.device
        Where to put it.
    impl : str, optional
        Implementation, instead of what the run's configuration says; see
        `ladnet_fast.use_impl`.
    options : mapping, optional
        For a bare state dict, which doesn't say all options of its network: those of
        `ladnet_fast.LANet`, such as ``{"prior": "logit"}``. Sizes are read from the
        weights. Default: the section ``model`` of a ``config.yaml`` beside the file.

    Returns
    -------
    LANet
        In evaluation mode. Its ``trained_on`` has the settings of the extractor that the training
        features came from; empty where they are not known.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or no model in the folder.
    ValueError
        If the file holds something else or is damaged, the weights don't fit the options, or a
        bare state dict leaves options open; the message names the file and what to do.
    """
    path = checked_path("source", source)
    # Drawing weights that are replaced at once must not move the caller's random state.
    with torch.random.fork_rng(devices=[]):
        return _load(path, impl, options).to(device).eval()


def _load(path: Path, impl: str | None, given: Mapping[str, Any] | None) -> LANet:
    if path.is_dir():
        path = _inside(path)
    metadata, content = read_weights_file(path)
    if metadata.get("format") == CHECKPOINT_FORMAT:
        raise ValueError(
            f"{path} is the state of a training run, to resume from; its model is "
            f"{path.with_name(WEIGHTS)}"
        )
    state = state_of(content, str(path))
    options: Mapping[str, Any]
    if _OPTIONS in metadata:
        options = _stored_options(path, metadata[_OPTIONS])
    elif (said := options_in_state_dict(unwrapped(content, str(path)))) is not None:
        options = said
    elif is_authors_layout(state):
        options, state = authors_layout(state, str(path))
    else:
        options = _described(path, state, given)
        given = None
    config = _model_config(path, options)
    if given:
        changed = _model_config(path, {**options, **given})
        _check_given(path, config, changed, given.keys() & options.keys())
        config = changed
    check_fits(state, dataclasses.asdict(config), str(path))
    net = config.build(impl=impl)
    net.load_state_dict(state)
    if _TRAINED_ON in metadata:
        net.trained_on = _stored_options(path, metadata[_TRAINED_ON])
    return net


def _inside(folder: Path) -> Path:
    """Return the weights of the run in a folder."""
    if (folder / WEIGHTS).is_file():
        return folder / WEIGHTS
    runs = sorted(found.parent.name for found in folder.glob(f"*/{WEIGHTS}"))
    hint = f"; it holds the runs {', '.join(runs[:5])}: name one of them" if runs else ""
    raise FileNotFoundError(
        f"{folder} holds no {WEIGHTS}: it is not the folder of a finished training run{hint}"
    )


def _stored_options(path: Path, text: str) -> dict[str, Any]:
    try:
        options = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: the options in it are no JSON") from error
    if not isinstance(options, dict):
        raise ValueError(f"{path} is damaged: the options in it are {type(options).__name__}")
    return options


def _described(
    path: Path, state: Mapping[str, Tensor], given: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the options of a bare state dict: what it shows, and what is given beside it."""
    known = known_options(state, str(path))
    beside = path.with_name(CONFIG)
    if given is None and beside.is_file():
        load_config(beside)  # names what is wrong with it
        section = read_sections(beside).get("model") or {}
        # What a configuration leaves out has its default, as everywhere; sizes are in the weights.
        return {**known, **{k: v for k, v in section.items() if v is not None or k not in known}}
    described = {**known, **(given or {})}
    unclear = {k: v for k, v in unknown_options(known).items() if k not in described}
    if unclear:
        allowed = "; ".join(f"{name} ({values})" for name, values in unclear.items())
        example = {"prior": "additive", "num_heads": 1, "query_dim": "null"}
        section = ", ".join(f"{name}: {example[name]}" for name in unclear)
        raise ValueError(
            f"{path} does not say which options its network has, and its weights don't show them: "
            f"{allowed}; put the run's {CONFIG} beside it, or write one, e.g. "
            f"echo 'model: {{{section}}}' > {shlex.quote(str(beside))}; in Python give options="
        )
    return described


def _check_given(
    path: Path, stored: ModelConfig, changed: ModelConfig, names: Iterable[str]
) -> None:
    """Refuse options that contradict what the file itself says."""
    for name in names:
        said, given = getattr(stored, name), getattr(changed, name)
        if said != given:
            raise ValueError(
                f"{path} says that its network has {name} = {said!r}; options give {given!r}: "
                "leave it out"
            )


def _model_config(path: Path, options: Mapping[str, Any]) -> ModelConfig:
    try:
        return Config.from_dict({"model": options}).model
    except ConfigError as error:
        raise ValueError(f"{path}: the weights don't fit the model's options: {error}") from error
