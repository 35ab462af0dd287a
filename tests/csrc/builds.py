"""What is built for tests beside the package: python tests/csrc/builds.py [NAME...].

Most are builds of the C++ unit tests, which test_builds.py runs. ``tiles`` is the Python module
with emulated tile registers (tests/ops/locality_attention/test_native_amx.py).

Needs Python's own library alone, so that a script may begin with it before anything is installed.
Builds lie in build/tests/ and are made only where something has changed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "build" / "tests"
CROSS = "aarch64-linux-gnu"
CXX = os.environ.get("CXX", "c++")
#: What each build needs on PATH, and CMake's options for it.
BUILDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "sanitizers": (
        (CXX,),
        (
            "-DLADNET_TESTS=ON",
            "-DLADNET_SANITIZE=address,undefined",
            "-DLADNET_EMULATE_TILES=functions",
        ),
    ),
    "clang": (
        ("clang++",),
        (
            "-DLADNET_TESTS=ON",
            "-DCMAKE_CXX_COMPILER=clang++",
            "-DLADNET_WERROR=ON",
            "-DLADNET_EMULATE_TILES=traps",
        ),
    ),
    "aarch64": (
        (f"{CROSS}-g++", "qemu-aarch64-static"),
        (
            "-DLADNET_TESTS=ON",
            "-DLADNET_WERROR=ON",
            "-DCMAKE_SYSTEM_NAME=Linux",
            "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
            f"-DCMAKE_CXX_COMPILER={CROSS}-g++",
            f"-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64-static;-L;/usr/{CROSS}",
        ),
    ),
    # As setup.py builds the module, so that ccache has most of it.
    "tiles": (
        (CXX,),
        (
            "-DLADNET_PYTHON=ON",
            f"-DPython_EXECUTABLE={sys.executable}",
            "-DLADNET_WERROR=ON",
            "-DLADNET_EMULATE_TILES=traps",
        ),
    ),
}


def missing(name: str) -> list[str]:
    """Return the programs that a build needs and that are not on PATH."""
    return [program for program in ("cmake", *BUILDS[name][0]) if shutil.which(program) is None]


def build(name: str) -> Path:
    """Build one of `BUILDS`, or wait for the process that does; return its folder.

    Raises
    ------
    RuntimeError
        If the compiler or CMake fails; with their last words.
    """
    folder = PLACE / name
    folder.mkdir(parents=True, exist_ok=True)
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    with (PLACE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # The compilers and CMake may be others than those of an earlier build.
        (folder / "CMakeCache.txt").unlink(missing_ok=True)
        options = [*BUILDS[name][1], *_threads(name)]
        run("cmake", "-S", str(ROOT), "-B", str(folder), *generator, *options)
        run("cmake", "--build", str(folder), "--parallel", os.environ.get("MAX_JOBS", "2"))
    return folder


def run(*command: str) -> None:
    """Run a command; raise `RuntimeError` with its last words if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout[-6000:]}{done.stderr[-6000:]}")


def _threads(name: str) -> list[str]:
    """Without libomp clang's kernels have one thread: worth a test too, but CI has it."""
    if name != "clang":
        return []
    omp = ["clang++", "-fopenmp", "-fsyntax-only", "-include", "omp.h", "-x", "c++", os.devnull]
    has_threads = subprocess.run(omp, capture_output=True, check=False).returncode == 0
    return [f"-DCMAKE_REQUIRE_FIND_PACKAGE_OpenMP={'ON' if has_threads else 'OFF'}"]


if __name__ == "__main__":
    for chosen in sys.argv[1:] or BUILDS:
        build(chosen)
