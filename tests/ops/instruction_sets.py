"""Tests of native operators once more, with another instruction set than the processor's best."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ladnet_fast import _native

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("avx512", "avx2", "baseline")
PROGRAM = """
import sys
import pytest
from ladnet_fast import _native

print("instruction set:", _native.cpu.instruction_set(), flush=True)
sys.exit(pytest.main(sys.argv[1:]))
"""


def run_python(
    arguments: list[str], instruction_set: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own: an instruction set is chosen once a process."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"LADNET_CPU": instruction_set, **environment},
        capture_output=True,
        text=True,
    )


def assert_tests_pass(
    instruction_set: str, folder: str, files: list[str], *options: str, **environment: str
) -> None:
    """Run test files of ``tests/ops/<folder>``; skip where the processor lacks the set.

    Nor are they run twice with the set that this process has, unless ``environment`` differs.
    """
    if instruction_set not in _native.cpu.available_instruction_sets():
        pytest.skip(f"this processor or build has no {instruction_set}")
    if instruction_set == _native.cpu.instruction_set() and not environment:
        pytest.skip(f"the same tests run with {instruction_set} in this process")
    paths = [f"tests/ops/{folder}/{name}" for name in files]
    done = run_python(["-c", PROGRAM, "-x", *options, *paths], instruction_set, **environment)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert f"instruction set: {instruction_set}\n" in done.stdout
