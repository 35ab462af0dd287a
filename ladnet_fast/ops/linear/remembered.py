"""What the self-test of the linear layers measured, kept on disk.

One small JSON file for each machine, set of versions and number of threads, in the folder
``linear`` of the cache (`ladnet_fast._files.cache_folder`). It holds the timings; the verdict
follows from them. A file that can't be read is measured again, and a folder that can't be written
to costs a measurement per process: both are logged, and neither is an error.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ... import _native
from ..._files import atomic_write_text, cache_folder
from ..._locks import FolderInUseError, folder_lock
from ..._version import __version__
from .selftest import Timings, Turn

_FORMAT = "ladnet_fast.linear.1"
#: Seconds to wait for another process that measures on the same machine.
_PATIENCE = 20.0

logger = logging.getLogger("ladnet_fast")


def circumstances(threads: int, snippets: int) -> dict[str, Any]:
    """Return all that a measurement depends on, of JSON types."""
    return {
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "threads": threads,
        "snippets": snippets,
        "torch": torch.__version__,
        "torch_instruction_set": torch.backends.cpu.get_cpu_capability(),
        "ladnet_fast": __version__,
        "instruction_set": str(_native.cpu.instruction_set()) if _native.cpu else "none",
    }


def path_of(key: dict[str, Any]) -> Path:
    """Return the file of a measurement, whether there is one or not."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    name = f"{key['threads']}-threads-{key['snippets']}-snippets-{digest[:16]}.json"
    return cache_folder() / "linear" / name


def timings(key: dict[str, Any], measure: Callable[[], Timings]) -> tuple[Timings, bool]:
    """Return what was measured under these circumstances; measure it where nobody has.

    Processes that ask at once wait for the first of them, which measures undisturbed.

    Returns
    -------
    Timings
    bool
        Whether they are on disk, so that every later process judges by the same.
    """
    path = path_of(key)
    found = _read(path, key)
    if found is not None:
        return found, True
    try:
        with folder_lock(path.parent, "measuring", wait=_PATIENCE):
            found = _read(path, key)  # from the process that held the lock
            if found is None:
                found = measure()
                _write(path, key, found)
        return found, True
    except FolderInUseError:
        logger.warning(
            "another process has been measuring the linear layers for %g s; this one measures for "
            "itself and keeps nothing in %s",
            _PATIENCE,
            path.parent,
        )
    except OSError as error:
        logger.warning(
            "what the self-test of the linear layers measures can't be kept (%s): every process "
            "measures again, and results of two may differ by rounding. Name a folder that can be "
            "written to, LADNET_CACHE=FOLDER, or choose: LADNET_LINEAR=torch or native",
            error,
        )
    return (measure() if found is None else found), False


def _read(path: Path, key: dict[str, Any]) -> Timings | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT or content["measured_with"] != key:
            raise ValueError("it describes another measurement")
        return Timings(*(_turns(content["seconds"][name]) for name in ("forward", "training")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s can't be read (%r); the linear layers are measured again", path, error)
        return None


def _turns(content: Any) -> tuple[Turn, ...]:
    turns = tuple((float(native), float(torch_time)) for native, torch_time in content)
    if not turns or not all(0 < t < math.inf for turn in turns for t in turn):
        raise ValueError("seconds must be positive")
    return turns


def _write(path: Path, key: dict[str, Any], found: Timings) -> None:
    content = {
        "format": _FORMAT,
        "measured_with": key,
        "order": ["native", "torch"],
        "seconds": {"forward": found.forward, "training": found.training},
    }
    atomic_write_text(path, json.dumps(content, indent=1) + "\n")


def processor() -> str:
    """Return the processor's name with what tells generations of the same name apart."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    fields = dict(re.findall(r"^([^\t:]+?)\s*: (.*)$", text.partition("\n\n")[0], re.MULTILINE))
    names = ("model name", "cpu family", "model", "stepping", "CPU implementer", "CPU part")
    known = [fields[name] for name in names if name in fields]
    return " ".join(known) or platform.machine()
