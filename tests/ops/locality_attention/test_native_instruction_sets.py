"""LADNET_CPU forces an instruction set; every one that this processor has passes the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ladnet_fast import _native

from .native_tools import needs_native

pytestmark = needs_native

ROOT = Path(__file__).resolve().parents[3]


def _run(arguments: list[str], instruction_set: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"LADNET_CPU": instruction_set},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["avx512", "avx2", "baseline"])
def test_the_forced_instruction_set_is_used_and_right(name):
    if name not in _native.cpu.available_instruction_sets():
        pytest.skip(f"this processor or build has no {name}")
    shown = _run(
        ["-c", "from ladnet_fast import _native; print(_native.cpu.instruction_set())"], name
    )
    assert shown.stdout.strip() == name, shown.stderr
    folder = "tests/ops/locality_attention"
    tests = _run(
        ["-m", "pytest", "-x", f"{folder}/test_native.py", f"{folder}/test_native_edges.py"], name
    )
    assert tests.returncode == 0, tests.stdout[-4000:]


def test_an_instruction_set_that_does_not_exist_is_an_error_that_lists_the_others():
    failed = _run(["-c", "from ladnet_fast import _native"], "mmx")
    assert failed.returncode != 0
    assert "LADNET_CPU asks for 'mmx'" in failed.stderr
    assert "baseline" in failed.stderr
