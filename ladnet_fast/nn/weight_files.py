"""Reading weights from a file of unknown origin; no code that it may hold is ever run."""

from __future__ import annotations

import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch

from .._out_of_memory import asked_bytes, is_out_of_memory
from .._records import DamagedFileError

#: What can be given instead, as the end of a message.
REMEDY = (
    "give the folder of a training run, its model.safetensors, or what "
    "torch.save(net.state_dict(), 'weights.pt') wrote"
)
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_LFS = b"version https://git-lfs"
_GLOBAL = re.compile(r"Unsupported global: GLOBAL ([\w.]+)")
_NAMED = 3


class WeightsFileError(ValueError):
    """A file holds no weights that can be read; the message names it and says what to do."""


def read_weights_file(path: str | os.PathLike[str]) -> tuple[dict[str, str], Mapping[Any, Any]]:
    """Read a safetensors file or one of ``torch.save``, whichever its content says it is.

    Returns
    -------
    metadata : dict
        Of a safetensors file; empty for others.
    content : mapping
        What the file holds by name, on the CPU; tensors, and with ``torch.save`` also other things.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is something else, is damaged, or holds pickled objects. They are never
        unpickled: that would run code of whoever made the file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"model {path} does not exist")
    if not path.is_file():
        raise WeightsFileError(f"model {path} is not a file; {REMEDY}")
    with path.open("rb") as file:
        start = file.read(256)
    if not start:
        raise WeightsFileError(
            f"{path} is empty (0 bytes): a download or a copy was cut off; make it again"
        )
    if start.startswith((_ZIP, _PICKLE)):
        return {}, _read_torch(path)
    if path.suffix.lower() == ".safetensors" or start[8:9] == b"{":
        return _read_safetensors(path)
    raise WeightsFileError(f"{path} holds no weights{_looks_like(start)}; {REMEDY}")


def _read_safetensors(path: Path) -> tuple[dict[str, str], Mapping[Any, Any]]:
    from safetensors import SafetensorError  # here, so that a network needs no safetensors

    from .._tensors import load_tensors

    try:
        return load_tensors(path)
    except DamagedFileError as error:
        if isinstance(error.__cause__, SafetensorError):  # its words say nothing of what to do
            raise WeightsFileError(f"{error}; copy it again from where it was made") from error
        raise
    except OSError:
        raise
    # An unknown dtype, an impossible header: safetensors has no common error for these.
    except Exception as error:
        _refuse(path, error, f"{path} is not a whole safetensors file; copy it again")


def _read_torch(path: Path) -> Mapping[Any, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's advice on loading what we refuse
            _check_archive(path)
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except WeightsFileError:
        raise
    # A damaged file makes PyTorch raise nearly anything: KeyError, EOFError, IndexError, OSError.
    except Exception as error:
        unsafe = _GLOBAL.findall(str(error)) if isinstance(error, pickle.UnpicklingError) else []
        if unsafe:
            _refuse_objects(path, unsafe, error)
        _refuse(path, error, f"{path} is damaged, or holds no weights that can be read; {REMEDY}")
    if not isinstance(loaded, Mapping):
        raise WeightsFileError(f"{path} holds {type(loaded).__name__}, not a state dict; {REMEDY}")
    return loaded


def _check_archive(path: Path) -> None:
    """Check kind and checksums of a ZIP archive, which PyTorch does not."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if not any(name.endswith("data.pkl") for name in names):
            raise WeightsFileError(f"{path} is a ZIP archive without weights in it; {REMEDY}")
        if any(name.endswith("constants.pkl") for name in names):
            raise WeightsFileError(
                f"{path} is a TorchScript program, which is never run; where it was made, save the "
                "weights alone: torch.save(net.state_dict(), 'weights.pt')"
            )
        unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        if unsafe:
            _refuse_objects(path, unsafe)
        for part in archive.infolist():
            if part.CRC and not _is_whole(archive, part):  # PyTorch can leave checksums out: 0
                raise WeightsFileError(
                    f"{path} is damaged: its part {part.filename} is not what was written (its "
                    "checksum differs); copy it again"
                )


def _is_whole(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> bool:
    try:
        with archive.open(part) as file:
            while file.read(1 << 20):
                pass
    except zipfile.BadZipFile:
        return False
    return True


def _refuse_objects(path: Path, names: list[str], error: BaseException | None = None) -> NoReturn:
    names = sorted(set(names))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    raise WeightsFileError(
        f"{path} holds pickled objects ({', '.join(names[:_NAMED])}{more}), which are never "
        "loaded because that can run code; where it was made, save the weights alone: "
        "torch.save(net.state_dict(), 'weights.pt')"
    ) from error


def _refuse(path: Path, error: Exception, message: str) -> NoReturn:
    """Raise the message; the error itself if there was not enough memory for the file."""
    if is_out_of_memory(error) and (asked_bytes(error) or 0) <= path.stat().st_size:
        raise error
    raise WeightsFileError(message) from error


def _looks_like(start: bytes) -> str:
    if start.startswith(_LFS):
        return " but a pointer of Git LFS; fetch the file with git lfs pull"
    if start.lstrip().startswith(b"<"):
        return " but a web page: the download went wrong"
    if start.startswith(b"\x93NUMPY"):
        return " but one NumPy array, such as features or scores"
    return ""
