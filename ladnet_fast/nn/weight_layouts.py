"""Weights of LA-Net in the layouts that files have: the authors' and ours."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from .weight_files import WeightsFileError, read_weights_file

_SHOWN, _LISTED = 4, 20
#: Where a training program may have put the state dict, in a mapping with other things.
_WRAPPERS = ("state_dict", "model", "model_state_dict")
#: What torch.nn.DataParallel and torch.compile put before every name.
_PREFIX = re.compile(r"^(?:module\.|_orig_mod\.)+")

#: Entry of the authors' published audio-visual checkpoint -> ours.
_RENAMED = {
    "dis_adj.w": "attention.prior.w",
    "dis_adj.bias": "attention.prior.b",
    **{
        f"cross_attention.cross_attention.{layer}.{kind}": f"attention.{layer}.{kind}"
        for layer in "qkvo"
        for kind in ("weight", "bias")
    },
    **{
        f"cross_attention.ffn.{layer}.{kind}": f"mlp.{layer}.{kind}"
        for layer in (0, 3)
        for kind in ("weight", "bias")
    },
    "cross_attention.norm.weight": "norm.weight",
    "cross_attention.norm.bias": "norm.bias",
    "classifier.weight": "classifier.weight",
    "classifier.bias": "classifier.bias",
}
#: The number of axes of those entries from which sizes are read.
_AXES = {
    "attention.q.weight": 2,
    "attention.k.weight": 2,
    "classifier.weight": 3,
    "attention.prior.w": 1,
    "attention.prior.raw_sigma": 1,
}


def read_authors_checkpoint(
    source: str | os.PathLike[str] | Mapping[str, Tensor],
) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Return ``(options, state)``: LANet's sizes and its state dict.

    The contract is that of `ladnet_fast.LANet.from_authors_checkpoint`.
    """
    if isinstance(source, Mapping):
        return authors_layout(state_of(source, "source"), "source")
    _, content = read_weights_file(source)
    name = os.fspath(source)
    return authors_layout(state_of(content, name), name)


def state_of(content: Mapping[Any, Any], name: str) -> dict[str, Tensor]:
    """Return the state dict inside of a file's content: float32 entries by their plain names.

    A state dict under one of the keys that training programs use, and the prefixes of
    ``torch.nn.DataParallel`` and ``torch.compile``, are recognised.

    Raises
    ------
    ValueError
        If there is none, or an entry is no tensor of finite floating-point numbers; begins with
        ``name``.
    """
    content = unwrapped(content, name)
    state: dict[str, Tensor] = {}
    for key, entry in content.items():
        plain = _PREFIX.sub("", key)
        if plain in state:
            raise WeightsFileError(f"{name} has the entry {plain} twice, with a prefix and without")
        state[plain] = _weights(entry, f"{name}: {plain}")
    return state


def is_authors_layout(state: Mapping[str, Tensor]) -> bool:
    """Tell whether the entries are named as in the authors' checkpoint."""
    return any(key.startswith(("cross_attention.", "dis_adj.")) for key in state)


def authors_layout(
    state: Mapping[str, Tensor], name: str
) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Return LANet's options and state dict from the authors' entries."""
    difference = _difference(_RENAMED.keys(), state.keys())
    if difference:
        raise WeightsFileError(
            f"{name} is not the authors' audio-visual checkpoint: {', '.join(difference)}. Weights "
            "that LANet saved itself are read by ladnet_fast.engine.load_model"
        )
    ours = {}
    for key, entry in state.items():
        # Linear layers are stored as convolutions over one snippet: (out, in, 1).
        pointwise = entry.dim() == 3 and entry.shape[2] == 1 and not key.startswith("classifier")
        ours[_RENAMED[key]] = entry.squeeze(2) if pointwise else entry
    options = {
        **known_options(ours, name),
        "prior": "logit",
        "query_dim": ours["attention.q.weight"].shape[1],
    }
    check_fits(ours, options, name)
    return options, ours


def known_options(state: Mapping[str, Tensor], name: str) -> dict[str, object]:
    """Return the options of LANet that follow from the names and shapes of its state dict.

    Three do not: where the prior enters ("additive" or "logit"), the number of heads of a network
    without a prior, and whether queries come from a second modality of the features' width.
    `unknown_options` lists them.

    Raises
    ------
    ValueError
        If the entries are not those of a LANet.
    """
    layers = sorted(
        int(found[1]) for key in state if (found := re.fullmatch(r"mlp\.(\d{1,6})\.weight", key))
    )
    needed = {"attention.q.weight", "attention.k.weight", "classifier.weight", "mlp.0.weight"}
    if not needed <= state.keys():
        raise WeightsFileError(
            f"{name} holds other weights than LA-Net's: it has {_some(state)}, and lacks "
            f"{_some(sorted(needed - state.keys()))}"
        )
    for key, axes in {**_AXES, **{f"mlp.{i}.weight": 2 for i in layers}}.items():
        if key in state and state[key].dim() != axes:
            raise WeightsFileError(
                f"{name}: {key} must have {axes} axes; got the shape {tuple(state[key].shape)}"
            )
    hidden, feature_dim = state["attention.k.weight"].shape
    options: dict[str, object] = {
        "feature_dim": feature_dim,
        "hidden_dim": hidden,
        "mlp_dims": tuple(state[f"mlp.{i}.weight"].shape[0] for i in layers),
        "kernel_size": state["classifier.weight"].shape[2],
    }
    if "attention.prior.raw_sigma" in state:
        options["num_heads"] = state["attention.prior.raw_sigma"].shape[0]
        options["prior_form"] = "gaussian"
    elif "attention.prior.w" in state:
        options["num_heads"] = state["attention.prior.w"].shape[0]
        options["prior_form"] = "exp_abs"
    else:
        options["prior"] = "none"
        if hidden == 1:
            options["num_heads"] = 1
    width = state["attention.q.weight"].shape[1]
    if width != feature_dim:
        options["query_dim"] = width
    return options


def unknown_options(known: Mapping[str, object]) -> dict[str, str]:
    """Return the options that don't follow from weights, with the values they may have."""
    allowed = {
        "prior": "additive or logit",
        "num_heads": f"a divisor of {known['hidden_dim']}",
        "query_dim": f"null, or {known['feature_dim']} if a second modality asks the questions",
    }
    return {name: values for name, values in allowed.items() if name not in known}


def check_fits(state: Mapping[str, Tensor], options: Mapping[str, Any], name: str) -> None:
    """Compare entries with those of the network that the options describe; build no weights.

    Raises
    ------
    ValueError
        If an option is not allowed, an entry is missing or too many, or has another shape.
    """
    from .lanet import LANet

    try:
        with torch.device("meta"):
            expected = LANet(**options).state_dict()
    except ValueError as error:
        raise WeightsFileError(f"{name}: the weights don't describe a LANet: {error}") from error
    shapes = [
        f"{key} has the shape {tuple(state[key].shape)} instead of {tuple(entry.shape)}"
        for key, entry in expected.items()
        if key in state and state[key].shape != entry.shape
    ]
    problems = _difference(expected.keys(), state.keys()) + shapes[:_SHOWN]
    if problems:
        raise WeightsFileError(
            f"{name}: the weights don't fit the model's options: {'; '.join(problems)}"
        )


def unwrapped(content: Mapping[Any, Any], name: str) -> Mapping[str, Any]:
    """Return the state dict inside of a file's content; the error begins with ``name``."""
    for _ in range(len(_WRAPPERS)):
        inside = [key for key in _WRAPPERS if _may_hold_weights(content.get(key))]
        if len(inside) > 1:
            raise WeightsFileError(
                f"{name} holds several state dicts ({', '.join(inside)}); save one alone: "
                "torch.save(net.state_dict(), 'weights.pt')"
            )
        if not inside:
            break
        content = content[inside[0]]
    if not content:
        raise WeightsFileError(f"{name} holds no tensors: it is empty")
    if not any(isinstance(entry, Tensor) for entry in content.values()):
        raise WeightsFileError(
            f"{name} holds no state dict: it has {_some(content)}, none of them a tensor; "
            "torch.save(net.state_dict(), 'weights.pt') writes one"
        )
    for key, entry in content.items():
        if not isinstance(key, str):
            raise WeightsFileError(f"{name}: an entry of a state dict has a name; got {key!r:.80}")
        if not isinstance(entry, Tensor):
            raise WeightsFileError(
                f"{name}: the entry {key} is {type(entry).__name__}, not a tensor; "
                "torch.save(net.state_dict(), 'weights.pt') writes tensors alone"
            )
    return content


def _may_hold_weights(entry: object) -> bool:
    return isinstance(entry, Mapping) and (
        any(isinstance(value, Tensor) for value in entry.values())
        or any(key in entry for key in _WRAPPERS)
    )


def _weights(entry: Tensor, name: str) -> Tensor:
    """Check that an entry can be weights; return it in float32."""
    if not entry.is_floating_point():
        kind = str(entry.dtype).removeprefix("torch.")
        raise WeightsFileError(f"{name} must hold floating-point numbers; got {kind}")
    if entry.layout != torch.strided or entry.is_quantized or entry.device.type == "meta":
        kind = "without data" if entry.device.type == "meta" else str(entry.layout)
        raise WeightsFileError(f"{name} must be a dense tensor; got one {kind}")
    if entry.dtype == torch.float64:
        beyond = entry.isfinite() & (entry.abs() > torch.finfo(torch.float32).max)
        if beyond.any():
            raise WeightsFileError(f"{name} has numbers that are too large for float32")
    weights = entry.detach().float()
    bad = (~weights.isfinite()).sum().item()
    if bad:
        raise WeightsFileError(
            f"{name} has {bad} of {weights.numel()} numbers that are NaN or infinite, so it can't "
            "score anything; take an earlier copy, or train again"
        )
    return weights


def _difference(expected: Iterable[str], found: Iterable[str]) -> list[str]:
    """Say which names are missing and which are too many."""
    wanted, there = set(expected), set(found)
    problems = []
    for what, names in (("missing", sorted(wanted - there)), ("unknown", sorted(there - wanted))):
        if names:
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            problems.append(f"{what} entries {names[:_LISTED]}{more}")
    return problems


def _some(names: Iterable[object]) -> str:
    listed = [f"{name!s:.60}" for name in names]
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
