"""Reading the authors' checkpoints into LANet's state dict."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

#: Their entry -> ours.
_RENAMED = {
    "dis_adj.weight": "attention.prior.w",
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


def read_authors_checkpoint(
    source: str | os.PathLike[str] | Mapping[str, Tensor],
) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Return ``(options, state)``: LANet's sizes and its state dict.

    The contract is that of :meth:`ladnet_fast.LANet.from_authors_checkpoint`.
    """
    state = _unwrap(source if isinstance(source, Mapping) else _load(Path(source)))
    missing, unknown = (
        sorted(_RENAMED.keys() - state.keys()),
        sorted(state.keys() - _RENAMED.keys()),
    )
    if missing or unknown:
        raise ValueError(
            "source is not the authors' audio-visual checkpoint: "
            f"missing entries {missing}, unknown entries {unknown}. "
            "For weights that LANet saved itself use load_state_dict."
        )
    ours = {}
    for name, entry in state.items():
        # Linear layers are stored as convolutions over one snippet: (out, in, 1).
        pointwise = entry.dim() == 3 and entry.shape[2] == 1 and not name.startswith("classifier")
        ours[_RENAMED[name]] = entry.squeeze(2) if pointwise else entry
    return _sizes(ours), ours


def _load(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    # weights_only: a checkpoint from the web must not run code.
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{path} holds {type(loaded).__name__}, not a state dict")
    return loaded


def _unwrap(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    for key in ("state_dict", "model"):
        inner = state.get(key)
        if isinstance(inner, Mapping):
            state = inner
    return {name.removeprefix("module."): entry for name, entry in state.items()}


def _sizes(state: dict[str, Tensor]) -> dict[str, object]:
    hidden, feature_dim = state["attention.k.weight"].shape
    return {
        "feature_dim": feature_dim,
        "hidden_dim": hidden,
        "num_heads": state["attention.prior.w"].shape[0],
        "mlp_dims": (state["mlp.0.weight"].shape[0], state["mlp.3.weight"].shape[0]),
        "kernel_size": state["classifier.weight"].shape[2],
        "prior": "logit",
        "prior_form": "exp_abs",
        "query_dim": state["attention.q.weight"].shape[1],
    }
