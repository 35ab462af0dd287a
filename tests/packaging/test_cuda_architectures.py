"""For which GPUs the CUDA module is compiled, by the release of nvcc that is there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake (Debian: cmake)"),
    pytest.mark.skipif(sys.platform == "win32", reason="needs a shell for the stand-in of nvcc"),
]

SCRIPT = """
include("{function}")
ladnet_cuda_architectures(found "{nvcc}")
message(NOTICE "found=${{found}}=")
"""


def choose(folder: Path, printed: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Ask the build's own function, with a program for nvcc that prints this version."""
    nvcc = folder / "nvcc"
    nvcc.write_text(f"#!/bin/sh\ncat <<'E'\n{printed}\nE\nexit {status}\n")
    nvcc.chmod(0o755)
    script = folder / "choose.cmake"
    function = ROOT / "csrc" / "cuda" / "architectures.cmake"
    script.write_text(SCRIPT.format(function=function.as_posix(), nvcc=nvcc.as_posix()))
    return subprocess.run(["cmake", "-P", str(script)], capture_output=True, text=True, check=False)


def about(release: str) -> str:
    """Return what nvcc prints of itself."""
    return (
        "nvcc: NVIDIA (R) Cuda compiler driver\n"
        "Copyright (c) 2005-2024 NVIDIA Corporation\n"
        f"Cuda compilation tools, release {release}, V{release}.85\n"
        f"Build cuda_{release}.r{release}/compiler.35059454_0"
    )


@pytest.mark.parametrize(
    ("release", "architectures"),
    [
        ("11.0", "80"),
        ("11.7", "80"),
        ("11.8", "80-real;90"),
        ("12.0", "80-real;90"),
        ("12.6", "80-real;90"),
        ("12.8", "80-real;90-real;100-real;120"),
        ("12.10", "80-real;90-real;100-real;120"),  # a number, not a decimal fraction
        ("13.0", "80-real;90-real;100-real;120"),
        ("20.3", "80-real;90-real;100-real;120"),
    ],
)
def test_nvcc_compiles_for_what_its_release_knows_and_the_newest_as_ptx(
    release, architectures, tmp_path
):
    done = choose(tmp_path, about(release))
    assert done.returncode == 0, done.stderr
    assert f"found={architectures}=" in done.stderr
    assert not architectures.split(";")[-1].endswith("-real")


def test_an_nvcc_older_than_every_gpu_of_the_list_is_refused_by_name(tmp_path):
    done = choose(tmp_path, about("10.2"))
    assert done.returncode != 0
    said = " ".join(done.stderr.split())
    assert "is of CUDA 10.2; 11.0 is the oldest that knows sm_80" in said
    assert "CUDACXX" in said
    assert "LADNET_BUILD=cpu" in said


def test_an_nvcc_that_names_no_release_is_not_guessed_about(tmp_path):
    done = choose(tmp_path, "clang version 19.1")
    assert done.returncode != 0
    said = " ".join(done.stderr.split())
    assert "names no release of CUDA" in said
    assert "LADNET_CUDA_ARCHS" in said
    assert "clang version 19.1" in said


def test_an_nvcc_that_fails_stops_the_build(tmp_path):
    assert choose(tmp_path, about("12.6"), status=3).returncode != 0
