"""Builds ladnet_fast._cuda in the checkout, for the GPU at hand alone.

Without pip, setuptools or an installation: CMake is asked directly, with the options of setup.py.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from pathlib import Path

from . import processes
from .outcome import Outcome
from .parts import BUILD

ROOT = Path(__file__).resolve().parents[2]
NAME = "ladnet_fast._cuda"
_TARGET = "_cuda"


def build(architecture: int, seconds: float, root: Path = ROOT) -> Outcome:
    """Build the module in place; return what became of it.

    Parameters
    ----------
    architecture : int
        Ten times the major compute capability plus the minor, e.g. 90.
    seconds : float
        After which it is given up; may be infinite.
    root : Path
        The checkout.
    """
    nvcc, cmake = find_nvcc(), shutil.which("cmake")
    missing = [name for name, path in (("nvcc", nvcc), ("cmake", cmake)) if path is None]
    if missing:
        reason = f"{' and '.join(missing)} not found on PATH (nvcc: CUDACXX, CUDA_HOME, too)"
        return Outcome(BUILD, NAME, "unavailable", f"{reason}; what is there already serves")
    jobs = len(os.sched_getaffinity(0))
    folder = root / "build" / f"gpu-sm{architecture}"
    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    log = folder / "build.log"
    for command in commands(str(cmake), str(nvcc), architecture, jobs, root, folder):
        left = seconds - (time.monotonic() - start)
        text, status = processes.run(command, max(0.0, left), root, os.environ)
        log.write_text(text)
        if status is None:
            return Outcome(BUILD, NAME, "failed", f"not built in {seconds:.0f} s; see {log}")
        if status:
            return Outcome(BUILD, NAME, "failed", f"{problem(text)}; see {log}")
    remove_others(root / "ladnet_fast")
    return Outcome(BUILD, NAME, "ok", f"for sm_{architecture}, with {jobs} jobs")


def commands(
    cmake: str, nvcc: str, architecture: int, jobs: int, root: Path, folder: Path
) -> list[list[str]]:
    """Return the commands that configure and build."""
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    configure = [
        cmake, "-S", str(root), "-B", str(folder), *generator,
        "-DCMAKE_BUILD_TYPE=Release",
        "-DLADNET_PYTHON=ON",
        "-DLADNET_CUDA=ON",
        f"-DCMAKE_CUDA_COMPILER={nvcc}",
        f"-DLADNET_CUDA_ARCHS={architecture}-real",
        f"-DLADNET_OUTPUT_DIR={root / 'ladnet_fast'}",
        f"-DPython_EXECUTABLE={sys.executable}",
    ]  # fmt: skip
    make = [cmake, "--build", str(folder), "--target", _TARGET, "--parallel", str(jobs)]
    return [configure, make]


def find_nvcc() -> str | None:
    """Return the path of nvcc: what CUDACXX names, or on PATH, or in CUDA's folder."""
    named = os.environ.get("CUDACXX")
    if named:
        return shutil.which(named)
    homes = (os.environ.get("CUDA_HOME"), "/usr/local/cuda")
    places = (shutil.which(str(Path(home) / "bin" / "nvcc")) for home in homes if home)
    return shutil.which("nvcc") or next((place for place in places if place), None)


def problem(text: str) -> str:
    """Return the line of what a build printed that says best what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = [line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)]
    return (found or lines or ["the build ended without a word"])[0 if found else -1]


def remove_others(folder: Path) -> None:
    """Delete modules of other builds in the way of the new one: Python would prefer them."""
    built = max(folder.glob(f"{_TARGET}.*"), key=lambda path: path.stat().st_mtime, default=None)
    for path in folder.glob(f"{_TARGET}.*"):
        if path != built and path.suffix in (".so", ".pyd"):
            path.unlink()
