"""PTX as nvcc emits it for sm_80. Needs nvcc, and a system with fcntl for the lock."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

#: Why there is no PTX here; empty if there can be.
PROBLEM = "" if shutil.which("nvcc") else "needs nvcc on PATH"


def ptx_of(source: Path, folder: Path, flags: Sequence[str] = ()) -> str:
    """Compile a .cu file unless the folder has its PTX, which names lines of the source.

    Processes that share a folder wait for each other, so that each file is compiled once.
    """
    output, unfinished = (folder / f"{source.stem}.{end}" for end in ("ptx", "unfinished"))
    command = [
        "nvcc", "-ptx", "-arch=sm_80", "-std=c++17", "-lineinfo", "--fmad=false", *flags,
        str(source), "-o", str(unfinished),
    ]  # fmt: skip
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not output.exists():
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
            unfinished.rename(output)
    return output.read_text()
