"""The native linear layers pass their tests on every instruction set that this processor has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ladnet_fast import _native

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["avx512", "avx2", "baseline"])
def test_the_layers_are_right_with(name):
    if name not in _native.cpu.available_instruction_sets():
        pytest.skip(f"this processor or build has no {name}")
    folder = "tests/ops/linear"
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-m", "not slow", "-k", "not environment",
         f"{folder}/test_native.py", f"{folder}/test_network.py"],
        cwd=ROOT,
        env=os.environ | {"LADNET_CPU": name, "LADNET_LINEAR": "native"},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert tests.returncode == 0, tests.stdout[-4000:]
