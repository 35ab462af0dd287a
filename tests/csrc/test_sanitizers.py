"""The C++ unit tests, built with AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-6000:]}{done.stderr[-6000:]}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sanitizers", "threads"), [("address,undefined", "openmp"), ("thread", "std")]
)
def test_the_kernels_run_clean_under(sanitizers, threads, tmp_path):
    if shutil.which("cmake") is None or shutil.which(os.environ.get("CXX", "c++")) is None:
        pytest.skip("needs CMake and a C++ compiler")
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    _run(
        "cmake", "-S", str(ROOT), "-B", str(tmp_path), *generator,
        "-DLADNET_TESTS=ON",
        f"-DLADNET_SANITIZE={sanitizers}",
        f"-DLADNET_THREADS={threads}",
    )  # fmt: skip
    _run("cmake", "--build", str(tmp_path), "--parallel", os.environ.get("MAX_JOBS", "2"))
    _run("ctest", "--test-dir", str(tmp_path), "--output-on-failure", "--no-tests=error")
