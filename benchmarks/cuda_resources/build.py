"""Builds the extension module ``_cuda`` as an installation does, and finds NVIDIA's tools."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_TOOLS = {
    "nvcc": "the CUDA toolkit",
    "cmake": "cmake",
    "c++filt": "binutils",
    "cuobjdump": "the CUDA toolkit or the package triton",
    "nvdisasm": "the CUDA toolkit or the package triton",
}


@cache
def problem() -> str:
    """Return why the module cannot be built and examined here; empty if it can."""
    if platform.system() != "Linux":
        return "the build of the CUDA module is examined on Linux only"
    missing = [f"{tool} ({package})" for tool, package in _TOOLS.items() if _find(tool) is None]
    return f"needs on PATH: {', '.join(missing)}" if missing else ""


def _find(tool: str) -> str | None:
    """Return the path of a program; triton, where it is installed, brings NVIDIA's."""
    found = shutil.which(tool)
    triton = importlib.util.find_spec("triton")
    if found or triton is None or triton.origin is None:
        return found
    return shutil.which(str(Path(triton.origin).parent / "backends" / "nvidia" / "bin" / tool))


def nvidia_tool(name: str) -> str:
    """Return the path of cuobjdump or nvdisasm; ``FileNotFoundError`` if there is none."""
    path = _find(name)
    if path is None:
        raise FileNotFoundError(f"no {name} on PATH and none in triton: install {_TOOLS[name]}")
    return path


@cache
def nvcc_version() -> str:
    """Return the release of nvcc, e.g. ``13.0.88``."""
    (version,) = re.findall(r"\bV([\d.]+)", run("nvcc", "--version"))
    return str(version)


def build_module(folder: Path) -> Path:
    """Build ``_cuda`` for every architecture into a folder; return the module's path.

    A register that is spilled to memory ends the build, as LADNET_WERROR makes it an error.
    MAX_JOBS compiler processes at once, one unless it is set.
    """
    run(
        "cmake", "-S", str(ROOT), "-B", str(folder / "build"), "-DCMAKE_BUILD_TYPE=Release",
        *(["-G", "Ninja"] if shutil.which("ninja") else []),
        "-DLADNET_CUDA=ON", "-DLADNET_WERROR=ON", f"-DLADNET_OUTPUT_DIR={folder}",
        f"-DPython_EXECUTABLE={sys.executable}",
    )  # fmt: skip
    jobs = os.environ.get("MAX_JOBS") or "1"
    run("cmake", "--build", str(folder / "build"), "--target", "_cuda", "--parallel", jobs)
    (module,) = folder.glob("_cuda*.so")
    return module


def run(*command: str, folder: Path | None = None) -> str:
    """Return what a command prints; where it fails, the exception has it."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout
