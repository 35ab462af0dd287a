"""Runs pip so that nothing of a source archive is ever started. A script: see `pip_download`.

    python _pip_runner.py SCRATCH NAME VERSION PIP-ARGUMENTS...

pip learns an archive's name and version from the archive's own build code, which it starts as a
program in the unpacked archive. Here every such program is replaced by ``_pip_answer.py``, and an
audit hook, which nothing can remove, ends pip should a program or code of the archive begin anyway.
Programs that pip needs for other things, for example for credentials, are started as usual.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_PIP_STARTS_NONE_SO = ("os.exec", "os.spawn", "os.system")


def main() -> None:
    """Install the two safeguards, then become pip."""
    here = Path(__file__).resolve()
    scratch, name, version, *arguments = sys.argv[1:]
    scratch = os.path.realpath(scratch)
    answer = [sys.executable, "-I", "-S", str(here.with_name("_pip_answer.py")), name, version]
    # The folder of this script holds modules named like other packages; pip must not see them.
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != here.parent]

    def inside(place: object) -> bool:
        if not isinstance(place, str | bytes | os.PathLike):
            return False
        resolved = os.path.realpath(os.fsdecode(place))
        return resolved == scratch or resolved.startswith(scratch + os.sep)

    def is_build(args: Any, cwd: object) -> bool:
        words = _words(args)
        return words[0] == sys.executable or inside(cwd) or any(map(inside, words))

    class Popen(subprocess.Popen):
        def __init__(self, args: Any, *rest: Any, **options: Any) -> None:
            if is_build(args, options.get("cwd")):
                args = [*answer, *_words(args)]
                options.update(executable=None, shell=False)
            super().__init__(args, *rest, **options)

    def guard(event: str, details: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen":
            program, args, cwd, _ = details
            answers = _words(args)[: len(answer)] == answer and program == answer[0]
            if is_build(args, cwd) and not answers:
                raise RuntimeError(f"pip would start {args!r} in {cwd!r}")
        elif event in _PIP_STARTS_NONE_SO:
            raise RuntimeError(f"pip would start a program by {event}: {details!r}")
        elif event == "exec" and inside(getattr(details[0], "co_filename", None)):
            raise RuntimeError(f"pip would run {details[0].co_filename}")

    subprocess.Popen = Popen  # type: ignore[misc]
    sys.addaudithook(guard)
    sys.argv = ["pip", *arguments]
    runpy.run_module("pip", run_name="__main__", alter_sys=True)


def _words(args: Any) -> Sequence[str]:
    if isinstance(args, str | bytes | os.PathLike):
        return [os.fsdecode(args)]
    return [os.fsdecode(word) for word in args]


if __name__ == "__main__":
    main()
