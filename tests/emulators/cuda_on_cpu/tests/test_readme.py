"""The README's example runs on a copy of the package, as it would in another project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # because of what is built first

PACKAGE = Path(__file__).resolve().parents[1]


def test_the_example_runs_on_a_copy_of_the_package(emulator, tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "cuda_on_cpu", ignore=shutil.ignore_patterns("tests"))
    text = (PACKAGE / "README.md").read_text()
    for name, language in (("reverse.cu", "cuda"), ("example.py", "python")):
        (block,) = re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        (tmp_path / name).write_text(block)
    # The emulator's own files were compiled by this session already; the header is the copy's.
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / emulator.name).symlink_to(emulator)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "example.py"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(r"without the barrier of reverse.cu:8 .* are wrong\n", done.stdout)
