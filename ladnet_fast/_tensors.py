"""Tensors in safetensors files with a digest of every byte, which is checked when they are read.

safetensors is imported by whoever reads or writes: networks and training steps need none of it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ._files import atomic_path
from ._records import DamagedFileError

if TYPE_CHECKING:
    from safetensors import SafetensorError

#: Entries of a file's metadata: the digest of all tensors and of all other metadata. It is there
#: twice: if one entry's name is damaged, the file still doesn't look like one without a digest.
DIGESTS = ("ladnet_fast.sha256", "ladnet_fast.sha256.again")


def save_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write tensors atomically, with metadata and a digest of both.

    Raises
    ------
    OSError
        If the file can't be written, for example because the disk is full.
    """
    from safetensors import SafetensorError

    path = Path(path)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    described = {**metadata, **dict.fromkeys(DIGESTS, tensors_digest(state, metadata))}
    with atomic_path(path) as temporary:
        mode = temporary.stat().st_mode
        try:
            save_file(state, temporary, metadata=described)
        except SafetensorError as error:
            raise _os_error(error, path) from error
        temporary.chmod(mode)  # safetensors makes files that only their owner can read


def save_file(
    tensors: Mapping[str, Tensor], path: str | os.PathLike[str], *, metadata: Mapping[str, str]
) -> None:
    """Write a file by safetensors, as its function of this name does."""
    from safetensors.torch import save_file

    save_file(dict(tensors), path, metadata=dict(metadata))


def load_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Read a safetensors file: its metadata and its tensors, on the CPU.

    Where the file has a digest, every byte is compared with it; files of other programs have none.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedFileError
        If the file is cut off, is no safetensors file, or differs from its digest.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist or is not a file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise DamagedFileError(f"{path} is not a whole safetensors file ({error})") from error
    expected = {metadata.pop(name) for name in DIGESTS if name in metadata}
    if expected and expected != {tensors_digest(tensors, metadata)}:
        raise DamagedFileError(
            f"{path} is damaged: its content is not what was written (its digest differs); put a "
            "copy back, or make it again"
        )
    return metadata, tensors


def tensors_digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return the SHA-256 of names, dtypes, shapes, bytes and metadata, whatever their order."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    digest.update(json.dumps(sorted(metadata.items())).encode())
    return digest.hexdigest()


def _os_error(error: SafetensorError, path: Path) -> OSError:
    """Turn what safetensors says of a failed write into the system's own error."""
    number = re.search(r"os error (\d+)", str(error))
    code = int(number[1]) if number else errno.EIO
    reason = os.strerror(code) if number else str(error)
    return OSError(code, reason, str(path))
