"""Runs the kernels' tests under Triton's interpreter; see conftest.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")

HERE = Path(__file__).parent
FILES = sorted(path.relative_to(HERE).as_posix() for path in HERE.glob("*/test_*.py"))
#: Files that take longer than a process takes to start; the others share one.
LONG = [f"locality_attention/test_{name}.py" for name in ("accuracy", "edges", "operator")]
OTHERS = [file for file in FILES if file not in LONG]


@pytest.mark.slow(seconds=45)
@pytest.mark.parametrize("files", [*([file] for file in LONG), OTHERS], ids=[*LONG, "others"])
def test_kernels_under_the_interpreter(files):
    paths = [str(HERE / file) for file in files]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *paths],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, f"{run.stdout[-20_000:]}\n{run.stderr[-5_000:]}"
