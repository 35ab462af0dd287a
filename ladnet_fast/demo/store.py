"""Entries of the demo's cache: arrays, under a key made of everything they depend on."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .._files import remove_leftovers
from .._records import DamagedFileError
from .._tensors import load_tensors, save_tensors

#: Part of every key: raise it when decoding, augmenting or extracting gives other numbers.
CACHE_VERSION = 3

Entry = dict[str, npt.NDArray[Any]]

log = logging.getLogger(__name__)


def entry_key(settings: Mapping[str, Any]) -> str:
    """Return the hash of everything that an entry's numbers depend on."""
    text = json.dumps({"version": CACHE_VERSION, **settings}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def kept_entry(cache: Path, key: str, compute: Callable[[], Entry]) -> tuple[Entry, bool]:
    """Return an entry and whether the cache had it; else compute it and keep it.

    An entry with a damaged byte is computed again, with a warning.
    """
    path = cache / f"{key}.safetensors"
    entry = _read(path, key)
    if entry is not None:
        return entry, True
    entry = compute()
    remove_leftovers(cache)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in entry.items()}
    save_tensors(path, tensors, {"key": key})
    return entry, False


def _read(path: Path, key: str) -> Entry | None:
    """Read an entry of the cache if every byte is as it was written, else return None."""
    if not path.exists():
        return None
    try:
        metadata, tensors = load_tensors(path)
        if metadata != {"key": key}:
            raise DamagedFileError(f"{path} holds the entry of another key")
    except DamagedFileError as error:
        log.warning("%s; the features are computed again", error)
        return None
    return {name: tensor.numpy() for name, tensor in tensors.items()}
