"""Running the commands that messages print, as they are printed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def commands_in(message: str) -> list[str]:
    """Return the lines of a message that are commands: those that are indented."""
    return [line.strip() for line in message.splitlines() if line.startswith("  ")]


def run_command(command: str, cwd: Path) -> None:
    """Run a command in a shell in which ``python`` is this one."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        ["bash", "-c", command], cwd=cwd, env={**os.environ, "PATH": path}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stderr}"
