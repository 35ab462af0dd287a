"""The state of a training run in one safetensors file, written atomically; nothing is pickled.

A digest of every byte is written with it and checked when it is read. Tensors are named
``model.NAME``, ``best.NAME`` and ``optimizer.PARAMETER.ENTRY``; everything else is JSON in the
file's metadata. Neither random generators nor the learning-rate schedule have a state to store: the
training loop derives both from the seed, the epoch and the step.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .._records import DamagedFileError
from .._tensors import load_tensors, save_tensors

FORMAT = "ladnet_fast.checkpoint.1"


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or belongs to another run; the message says what differs."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a run needs to go on.

    ``optimizer`` has the optimiser's tensors by parameter, ``optimizer_groups`` its options;
    ``scaler`` is the loss scaler of fp16; ``progress`` is the caller's, of JSON types. ``best`` has
    the weights of the best epoch where they are not ``model``, else nothing.
    """

    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Mapping[str, Tensor]]
    optimizer_groups: list[dict[str, Any]]
    scaler: dict[str, Any] | None
    progress: dict[str, Any]
    best: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def capture(
        cls,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler | None,
        progress: dict[str, Any],
        best: Mapping[str, Tensor] | None = None,
    ) -> Checkpoint:
        """Take the state of a run; ``model`` and ``optimizer`` without any wrapper."""
        names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        state = optimizer.state_dict()
        return cls(
            model=model.state_dict(),
            optimizer={names[i]: dict(entries) for i, entries in state["state"].items()},
            optimizer_groups=[
                {key: _plain(value) for key, value in group.items() if key != "params"}
                for group in state["param_groups"]
            ],
            scaler=None if scaler is None else scaler.state_dict(),
            progress=progress,
            best=best or {},
        )

    def restore(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler | None,
    ) -> None:
        """Put the state into objects that were made with the same configuration."""
        model.load_state_dict(dict(self.model))
        names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict(
            {
                "state": {
                    i: dict(self.optimizer[name])
                    for i, name in enumerate(names)
                    if name in self.optimizer
                },
                "param_groups": [
                    {**saved, "params": group["params"]}
                    for saved, group in zip(self.optimizer_groups, groups, strict=True)
                ],
            }
        )
        if scaler is not None and self.scaler is not None:
            scaler.load_state_dict(self.scaler)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file; a crash while writing leaves the previous one as it was.

        Raises
        ------
        OSError
            If it can't be written, for example because the disk is full.
        """
        tensors = {f"model.{name}": tensor for name, tensor in self.model.items()}
        tensors.update({f"best.{name}": tensor for name, tensor in self.best.items()})
        for name, entries in self.optimizer.items():
            tensors.update({f"optimizer.{name}.{key}": entry for key, entry in entries.items()})
        metadata = {"format": FORMAT}
        for name in ("optimizer_groups", "scaler", "progress"):
            metadata[name] = json.dumps(getattr(self, name), allow_nan=False)
        save_tensors(path, tensors, metadata)


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If it is damaged or not a checkpoint of this package.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist or is not a file")
    try:
        metadata, tensors = load_tensors(path)
    except DamagedFileError as error:
        raise CheckpointError(
            f"{error}; put a copy back, or delete it and train again from the start: "
            f"rm {shlex.quote(str(path))}"
        ) from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is not a training checkpoint of this version: its format is "
            f"{metadata.get('format')!r}, expected {FORMAT!r}"
        )
    model: dict[str, Tensor] = {}
    best: dict[str, Tensor] = {}
    optimizer: dict[str, dict[str, Tensor]] = {}
    for full_name, tensor in tensors.items():
        kind, _, name = full_name.partition(".")
        if kind == "model":
            model[name] = tensor
        elif kind == "best":
            best[name] = tensor
        else:
            parameter, _, entry = name.rpartition(".")
            optimizer.setdefault(parameter, {})[entry] = tensor
    try:
        return Checkpoint(
            model=model,
            optimizer=optimizer,
            # JSON has no tuples, and Adam's betas are one.
            optimizer_groups=[
                {key: tuple(v) if isinstance(v, list) else v for key, v in group.items()}
                for group in json.loads(metadata["optimizer_groups"])
            ],
            scaler=json.loads(metadata["scaler"]),
            progress=json.loads(metadata["progress"]),
            best=best,
        )
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"{path} is damaged: what it says of the run can't be read; put a copy back, or delete "
            f"it and train again from the start: rm {shlex.quote(str(path))}"
        ) from error


def _plain(option: Any) -> Any:
    """Return a number that an optimiser keeps on the device, as a learning rate may be, as one."""
    return option.item() if isinstance(option, Tensor) else option
