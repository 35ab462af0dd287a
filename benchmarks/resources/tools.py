"""NVIDIA's programs: where they are, and how they and others are run."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str, folder: Path | None = None) -> str:
    """Return what a command prints; where it fails, the exception has it."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def find(tool: str) -> str | None:
    """Return the path of a program: on PATH, else of those of NVIDIA that triton brings."""
    return shutil.which(tool) or _of_triton(tool)


def disassembler(tool: str, *, triton_first: bool) -> str:
    """Return the path of cuobjdump or nvdisasm: what made the code has one that knows it.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    path = (_of_triton(tool) if triton_first else None) or find(tool)
    if path is None:
        raise FileNotFoundError(
            f"no {tool} on PATH and none in triton: install the CUDA toolkit, or pip install triton"
        )
    return path


def _of_triton(tool: str) -> str | None:
    triton = importlib.util.find_spec("triton")
    if triton is None or triton.origin is None:
        return None
    return shutil.which(str(Path(triton.origin).parent / "backends" / "nvidia" / "bin" / tool))
