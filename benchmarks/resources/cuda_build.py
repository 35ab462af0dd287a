"""Building the extension module ``_cuda`` as an installation does."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from .tools import ROOT, find, run

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
    missing = [f"{tool} ({package})" for tool, package in _TOOLS.items() if find(tool) is None]
    return f"needs on PATH: {', '.join(missing)}" if missing else ""


@cache
def compiler() -> str:
    """Return the compiler and its release, e.g. ``nvcc 13.0.88``."""
    (version,) = re.findall(r"\bV([\d.]+)", run("nvcc", "--version"))
    return f"nvcc {version}"


def build_module(folder: Path) -> Path:
    """Build ``_cuda`` for every architecture into a folder; return the module's path.

    A register that is spilled to memory ends the build, as LADNET_WERROR makes it an error.
    MAX_JOBS compiler processes at once, one unless it is set.
    """
    place = ROOT / "build" / "resources"
    place.mkdir(parents=True, exist_ok=True)
    # As deep in the sources as setup.py builds, so that a compiler cache finds the same paths.
    with TemporaryDirectory(dir=place) as build:
        run(
            "cmake", "-S", str(ROOT), "-B", build, "-DCMAKE_BUILD_TYPE=Release",
            *(["-G", "Ninja"] if shutil.which("ninja") else []),
            "-DLADNET_CUDA=ON", "-DLADNET_WERROR=ON", f"-DLADNET_OUTPUT_DIR={folder}",
            f"-DPython_EXECUTABLE={sys.executable}",
        )  # fmt: skip
        jobs = os.environ.get("MAX_JOBS") or "1"
        run("cmake", "--build", build, "--target", "_cuda", "--parallel", jobs)
    (module,) = folder.glob("_cuda*.so")
    return module
