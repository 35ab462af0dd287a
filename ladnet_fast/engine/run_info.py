"""What a result was made with: versions, command line, seed."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._locks import folder_lock
from .._outputs import check_outputs
from .._records import record_path, record_text
from .._version import __version__

FILE = "run.json"
KIND = "a run"
#: Name of the folder's lock while a process writes the file.
LOCK = "describing"
_OPTIONAL = ("accelerate", "scikit-learn", "safetensors", "av")


def run_info(
    *,
    command: Sequence[str] | None = None,
    seed: int | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Collect what is needed to repeat a result.

    Parameters
    ----------
    command : sequence of str, optional
        The command line; default ``sys.argv``.
    seed : int, optional
        Seed of the run.
    extra : mapping, optional
        More entries of JSON types, e.g. the data.

    Returns
    -------
    dict
        ``time``, ``command``, ``directory``, ``seed``, ``versions`` (ladnet_fast, python, torch,
        numpy and what else is installed), ``platform``, ``threads``, ``device``, ``git_revision``
        (of the source tree that the package runs from, None if it is installed elsewhere) and the
        extra entries.
    """
    versions: dict[str, str] = {
        "ladnet_fast": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    for name in _OPTIONAL:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": list(sys.argv if command is None else command),
        "directory": os.getcwd(),
        "seed": seed,
        "versions": versions,
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "git_revision": git_revision(),
        **(extra or {}),
    }


def write_run_info(
    folder: str | os.PathLike[str],
    *,
    command: Sequence[str] | None = None,
    seed: int | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write `run_info` to ``run.json`` in ``folder``; return its path.

    What the file held before, when a run is resumed or repeated, is kept in a list ``earlier``.
    """
    path = Path(folder) / FILE
    info = run_info(command=command, seed=seed, extra=extra)
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is not JSON ({error}); delete it and run again") from error
        earlier = before.pop("earlier", []) if isinstance(before, dict) else None
        if not isinstance(earlier, list):
            raise ValueError(f"{path} does not describe a run; move it away and run again")
        info["earlier"] = [*earlier, before]
    record_text(path, json.dumps(info, indent=2, allow_nan=False) + "\n", {"kind": KIND})
    return path


def check_run_info(
    folder: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]]
) -> None:
    """Refuse, before the work, a ``run.json`` in ``folder`` that is an input or somebody else's.

    Raises
    ------
    OutputError
        Names the file and what to do.
    """
    path = Path(folder) / FILE
    remedy = "name another folder with --out, or move it away"
    # Another process may be writing it: then file and record are compared when both are there.
    ours = record_path(path).is_file()
    with folder_lock(folder, LOCK, wait=-1) if ours else nullcontext():
        check_outputs([path], inputs, kinds=[KIND], remedy=remedy)


def git_revision() -> str | None:
    """Return the commit of the source tree this package lies in, "-dirty" if it was changed.

    None where the package was installed rather than run from a checkout, or git is absent.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],  # noqa: S607
            cwd=root,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
