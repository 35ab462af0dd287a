"""The README's example runs on a copy of the package, as it would in another project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def test_the_example_runs_on_a_copy_of_the_package(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "ptx_on_cpu", ignore=shutil.ignore_patterns("tests"))
    text = (PACKAGE / "README.md").read_text()
    example, *_ = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (tmp_path / "example.py").write_text(example)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "example.py"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("shared-memory race (read after write without a barrier)")
