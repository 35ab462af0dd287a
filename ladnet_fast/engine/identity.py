"""What identifies a run: the videos and options with which its checkpoint must agree."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data import BagDataset, Video
from .checkpoint import CheckpointError
from .coercion import ConfigError
from .config import Config

#: Options that may differ between a run and its continuation: none of them changes a result.
_FREE = (
    "epochs",
    "patience",
    "workers",
    "preload",
    "checkpoint_every",
    "checkpoint_steps",
    "device",
)


def with_widths(config: Config, dataset: BagDataset) -> Config:
    """Fill in the widths of the features; ConfigError where other ones are given."""
    widths = {"feature_dim": dataset.feature_dim, "query_dim": dataset.query_dim}
    for name, width in widths.items():
        given = getattr(config.model, name)
        if given is not None and given != width:
            found = "none" if width is None else f"width {width}"
            raise ConfigError(
                f"model.{name} = {given}, but the training videos have {found}; leave the option "
                "out to take what the videos have"
            )
    return config.replace(model=widths)


def check_classes(dataset: BagDataset) -> None:
    """Refuse training videos of one class only."""
    present = {video.label for video in dataset.videos}
    if len(present) < 2:
        label = present.pop()
        raise ValueError(
            f"all {len(dataset.videos)} training videos have label {label} "
            f"({'anomalous' if label else 'normal'}); multiple-instance learning needs both classes"
        )


def fingerprint(dataset: BagDataset, held_out: Sequence[Video]) -> str:
    """Identify the videos, their order and their crops, wherever their files lie."""
    bags = [(dataset.videos[i].name, dataset.videos[i].label, crop) for i, crop in dataset.samples]
    text = json.dumps([bags, [(video.name, video.label) for video in held_out]])
    return hashlib.sha256(text.encode()).hexdigest()


def check_same_run(path: Path, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Compare what a checkpoint says of its run with the run that wants to go on from it."""
    # A run of an earlier version did what is now an option's default.
    defaults = Config().as_dict()
    then = {name: {**defaults[name], **saved["config"][name]} for name in now["config"]}
    different = [
        f"{section}.{key}: {then[section][key]!r} then, {value!r} now"
        for section, options in now["config"].items()
        for key, value in options.items()
        if then[section][key] != value and not (section == "training" and key in _FREE)
    ]
    if saved["videos"] != now["videos"]:
        different.append("the training or held-out videos")
    if saved["processes"] != now["processes"]:
        different.append(f"processes: {saved['processes']} then, {now['processes']} now")
    if different:
        raise CheckpointError(
            f"{path} belongs to another run; it differs in {'; '.join(different)}. "
            "Resume with the same options, or train in another folder"
        )
