"""The C++ unit tests in other builds than the package's own.

ThreadSanitizer takes another build of everything; run it by hand after a change of the scheduling:
``cmake -S . -B build/tsan -DLADNET_TESTS=ON -DLADNET_SANITIZE=thread -DLADNET_THREADS=std``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CROSS = "aarch64-linux-gnu"

pytestmark = pytest.mark.slow(seconds=60)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-6000:]}{done.stderr[-6000:]}"


def _need(package: str, *programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (Debian: {package})")


def _build_and_test(folder: Path, *options: str) -> None:
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    _run("cmake", "-S", str(ROOT), "-B", str(folder), *generator, "-DLADNET_TESTS=ON", *options)
    _run("cmake", "--build", str(folder), "--parallel", os.environ.get("MAX_JOBS", "2"))
    _run("ctest", "--test-dir", str(folder), "--output-on-failure", "--no-tests=error")


def test_the_kernels_run_clean_under_address_and_undefined_behaviour_sanitizers(tmp_path):
    _need("cmake g++", "cmake", os.environ.get("CXX", "c++"))
    _build_and_test(tmp_path, "-DLADNET_SANITIZE=address,undefined")


def test_clang_builds_the_kernels_without_a_warning_and_they_pass(tmp_path):
    _need("cmake clang libomp-dev", "cmake", "clang++")
    # Without libomp the kernels have one thread there: worth a test too, but CI has it.
    omp = ["clang++", "-fopenmp", "-fsyntax-only", "-include", "omp.h", "-x", "c++", os.devnull]
    has_threads = subprocess.run(omp, capture_output=True, check=False).returncode == 0
    _build_and_test(
        tmp_path,
        "-DCMAKE_CXX_COMPILER=clang++",
        "-DLADNET_WERROR=ON",
        f"-DCMAKE_REQUIRE_FIND_PACKAGE_OpenMP={'ON' if has_threads else 'OFF'}",
    )


def test_the_kernels_pass_on_aarch64_which_an_emulator_executes(tmp_path):
    _need(f"cmake g++-{CROSS} qemu-user-static", "cmake", f"{CROSS}-g++", "qemu-aarch64-static")
    _build_and_test(
        tmp_path,
        "-DLADNET_WERROR=ON",
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        f"-DCMAKE_CXX_COMPILER={CROSS}-g++",
        f"-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64-static;-L;/usr/{CROSS}",
    )
