"""Run launchers in a process of its own, where a sanitizer watches and may end it.

A job is a folder: ``calls.json`` lists launchers with their arguments, ``arrays.npz`` holds the
arrays that they name. The child copies those into device memory, calls the launchers in turn and
leaves all arrays in ``results.npz``. This module is the child as well: ``python -m ...job FOLDER``.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .device import Device, call

#: A sanitizer's report ends the process; memory that Python itself keeps is no leak.
OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0:exitcode=65",
    "UBSAN_OPTIONS": "print_stacktrace=1:exitcode=65",
    "TSAN_OPTIONS": "halt_on_error=1:exitcode=66:atexit_sleep_ms=0",
}


@dataclass(frozen=True)
class Outcome:
    """What became of a job: its arrays, or everything that the child said when it failed."""

    arrays: dict[str, np.ndarray]
    report: str


def run_child(
    module: str, folder: Path, preload: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m module folder`` with these libraries loaded before everything else.

    ``module`` is the full name of one that is imported here. The child starts in the folder that
    its topmost package lies in, so it imports the same files, whether or not they are installed.
    """
    file = sys.modules[module].__file__
    assert file is not None
    root = Path(file).resolve().parents[module.count(".")]
    environment = os.environ | OPTIONS | {"LD_PRELOAD": " ".join(preload), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", module, str(folder)],
        cwd=root, env=environment, capture_output=True, text=True,
    )  # fmt: skip


def run_job(
    folder: Path,
    *,
    emulator: Path,
    library: Path,
    preload: Sequence[str],
    calls: Sequence[tuple[str, Sequence[str | int]]],
    arrays: Mapping[str, np.ndarray],
    schedule: str = "up",
    seed: int = 1,
) -> Outcome:
    """Call launchers ``(name, arguments)`` in a child; an argument is an int or an array's name."""
    folder.mkdir(parents=True, exist_ok=True)
    named: Any = arrays
    np.savez(folder / "arrays.npz", **named)
    job = {
        "emulator": str(emulator), "library": str(library), "calls": calls,
        "schedule": schedule, "seed": seed,
    }  # fmt: skip
    (folder / "calls.json").write_text(json.dumps(job))
    done = run_child(__name__, folder, preload)
    if done.returncode != 0:
        report = f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
        return Outcome({}, report)
    with np.load(folder / "results.npz", allow_pickle=False) as results:
        return Outcome(dict(results), "")


def main(folder: Path) -> None:
    """Do the job that lies in ``folder``."""
    job: dict[str, Any] = json.loads((folder / "calls.json").read_text())
    library = ctypes.CDLL(job["library"])
    with Device(Path(job["emulator"])) as device:
        with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
            arrays = {name: device.array(stored[name]) for name in stored.files}
        device.configure(job["schedule"], job["seed"])
        for name, arguments in job["calls"]:
            values = [arrays[a] if isinstance(a, str) else a for a in arguments]
            call(getattr(library, name), *values)
            device.check()
        results: Any = arrays
        np.savez(folder / "results.npz", **results)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
