"""The C++ unit tests, built with AddressSanitizer and UndefinedBehaviorSanitizer.

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


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-6000:]}{done.stderr[-6000:]}"


@pytest.mark.slow
def test_the_kernels_run_clean_under_address_and_undefined_behaviour_sanitizers(tmp_path):
    if shutil.which("cmake") is None or shutil.which(os.environ.get("CXX", "c++")) is None:
        pytest.skip("needs CMake and a C++ compiler")
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    _run(
        "cmake", "-S", str(ROOT), "-B", str(tmp_path), *generator,
        "-DLADNET_TESTS=ON",
        "-DLADNET_SANITIZE=address,undefined",
    )  # fmt: skip
    _run("cmake", "--build", str(tmp_path), "--parallel", os.environ.get("MAX_JOBS", "2"))
    _run("ctest", "--test-dir", str(tmp_path), "--output-on-failure", "--no-tests=error")
