"""The package's types as a user's type checker sees them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ladnet_fast

ROOT = Path(__file__).resolve().parents[2]


def test_the_package_says_that_it_is_typed():
    assert (Path(ladnet_fast.__file__).parent / "py.typed").is_file()


@pytest.mark.slow
def test_a_users_module_passes_mypy_strict(tmp_path):
    pytest.importorskip("mypy", reason="in the extra [dev]")
    module = Path(__file__).with_name("users_module.py")
    done = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent",
            "--python-version", "3.10", "--config-file", os.devnull,
            "--cache-dir", str(tmp_path), str(module),
        ],
        cwd=tmp_path, env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
