"""What the commands of a block are, as a shell reads them: words, patterns, loops, variables.

bash itself runs the block, with a function in the place of every program that notes its words. So
nothing is started and nothing is parsed by hand; redirections and bash's own commands do work.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

#: Programs that a page may name. A new one is added here, and to `commands.py` where it can be
#: checked.
KNOWN = (
    "apt-get", "cmake", "ctest", "git", "ladnet-fast", "mail", "make", "pip", "pytest",
    "python", "python3", "sudo", "tensorboard", "torchrun",
)  # fmt: skip

_FUNCTION = """\
function {name} {{ printf '%s\\0' {name} "$@" $'\\036' >>"$NOTED"; }}
"""
_END = "\x1e\0"
_BASH = shutil.which("bash") or "/bin/bash"


class ShellError(AssertionError):
    """A block that bash does not take, or that names a program that nobody knows."""


@dataclass(frozen=True)
class Command:
    """The words of a command, its name first."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.words)


def commands(text: str, folder: Path) -> list[Command]:
    """Return the commands of a block in the order in which they would run in ``folder``.

    Where a line begins with a prompt (``$ ``), the lines without one are output.
    """
    lines = text.splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    noted = folder / ".commands"
    noted.write_bytes(b"")
    script = "set -eu\n" + "".join(_FUNCTION.format(name=name) for name in KNOWN)
    script += "SLURM_ARRAY_TASK_ID=0\n" + "\n".join(lines) + "\n"
    done = subprocess.run(
        [_BASH, "-c", script],
        cwd=folder,
        env={"NOTED": str(noted), "PATH": "", "LC_ALL": "C", "HOME": os.fspath(folder)},
        capture_output=True,
        text=True,
    )
    found = noted.read_text(encoding="utf-8")
    noted.unlink()
    if done.returncode:
        raise ShellError(done.stderr.strip() or f"bash ended with {done.returncode}")
    return [Command(tuple(part.split("\0")[:-1])) for part in found.split(_END) if part]
